// The sheet that a person draws on, as Gradio runs it: element is the component, and setting
// props.value sends it. The value is a picture as a data: address, of the sheet while somebody
// draws or of the whole file where a photo was given, and empty when there is nothing.
const PEN = 24; // pixels of the sheet
const PAUSE = 60; // milliseconds between two pictures of a digit that is being drawn

const sheet = element.querySelector("canvas");
const file = element.querySelector("input");
const ink = sheet.getContext("2d", { willReadFrequently: true });
let last = null; // where the pen is on the sheet
let waiting = null; // the timer of the next picture
let drawn = true; // whether what the sheet shows was drawn, and can be drawn on

function send(picture) {
  clearTimeout(waiting);
  waiting = null;
  props.value = picture;
}

function wipe() {
  ink.fillStyle = "white";
  ink.fillRect(0, 0, sheet.width, sheet.height);
  drawn = true;
}

function place(event) {
  const box = sheet.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * sheet.width) / box.width,
    y: ((event.clientY - box.top) * sheet.height) / box.height,
  };
}

function draw(to) {
  ink.lineWidth = PEN;
  ink.lineCap = "round";
  ink.beginPath();
  ink.moveTo(last.x, last.y);
  ink.lineTo(to.x + 0.01, to.y); // a line of no length would leave no dot
  ink.stroke();
  last = to;
  waiting ??= setTimeout(() => send(sheet.toDataURL()), PAUSE);
}

async function show(photo) {
  wipe();
  drawn = false;
  const reader = new FileReader();
  reader.onload = () => send(reader.result);
  reader.readAsDataURL(photo);
  try {
    const picture = await createImageBitmap(photo);
    if (drawn) return; // somebody began to draw meanwhile
    const scale = Math.min(sheet.width / picture.width, sheet.height / picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale];
    ink.drawImage(picture, (sheet.width - width) / 2, (sheet.height - height) / 2, width, height);
  } catch {
    // TIFF, say, which is read all the same.
    ink.fillStyle = "black";
    ink.font = "20px sans-serif";
    ink.fillText(`${photo.name}: no preview`, 20, 40, sheet.width - 40);
  }
}

sheet.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button !== 0) return;
  if (!drawn) wipe();
  sheet.setPointerCapture(event.pointerId);
  last = place(event);
  draw(last);
});
sheet.addEventListener("pointermove", (event) => {
  if (last && event.isPrimary) draw(place(event));
});
for (const end of ["pointerup", "pointercancel"]) {
  sheet.addEventListener(end, (event) => {
    if (event.isPrimary) last = null;
  });
}

element.querySelector(".clear").addEventListener("click", () => {
  wipe();
  send("");
});
element.querySelector(".choose").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  if (file.files.length) show(file.files[0]);
  file.value = ""; // else the same file could not be chosen again
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault(); // else the browser would leave the page for the file
  if (event.dataTransfer.files.length) show(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) show(event.clipboardData.files[0]);
});

wipe();
