// The pad as a Gradio component: its value is a picture as a data: address, of the pad while
// somebody draws, or of the whole file where a picture was given; empty when there is nothing.
let newest = null;

function readFile(file) {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(file);
  });
}

createPad(element, async (picture) => {
  newest = picture;
  if (!picture) {
    props.value = "";
  } else if (picture.file) {
    const address = await readFile(picture.file);
    if (newest === picture) props.value = address;
  } else {
    props.value = picture.canvas.toDataURL();
  }
});
