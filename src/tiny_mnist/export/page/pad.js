// A pad to draw a digit on, which also shows pictures that are opened, dropped or pasted.
//
// createPad(root, onPicture): root holds the elements of pad.html. onPicture is called with
// { canvas, file } while somebody draws (file is null) and when a picture is given (canvas is null if
// the browser cannot show it), and with null when the pad is cleared.
function createPad(root, onPicture) {
  const PEN = 26; // width of the pen in pixels of the pad
  const STEP = 12; // pixels that an arrow key moves the pen
  const PAUSE = 50; // milliseconds between two pictures of a digit that is being drawn

  const canvas = root.querySelector("canvas");
  const input = root.querySelector("input");
  const marker = root.querySelector(".pen");
  const ink = canvas.getContext("2d", { willReadFrequently: true });
  const keyboard = { x: canvas.width / 2, y: canvas.height / 4, down: false };
  let last = null; // position of the pointer while it draws
  let timer = null; // of the next picture
  let photo = null; // the file that the pad shows; null if it can be drawn on

  function send(picture) {
    clearTimeout(timer);
    timer = null;
    onPicture(picture);
  }

  function wipe() {
    ink.fillStyle = "white";
    ink.fillRect(0, 0, canvas.width, canvas.height);
    photo = null;
    canvas.classList.remove("photo");
  }

  function clear() {
    wipe();
    send(null);
  }

  function drawLine(from, to) {
    if (photo) wipe();
    ink.lineWidth = PEN;
    ink.lineCap = ink.lineJoin = "round";
    ink.beginPath();
    ink.moveTo(from.x, from.y);
    ink.lineTo(to.x + 0.01, to.y); // a line without length would leave no dot
    ink.stroke();
    timer ??= setTimeout(() => send({ canvas, file: null }), PAUSE);
  }

  function position(event) {
    const box = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) * canvas.width) / box.width,
      y: ((event.clientY - box.top) * canvas.height) / box.height,
    };
  }

  function showMarker() {
    marker.style.left = `${(100 * keyboard.x) / canvas.width}%`;
    marker.style.top = `${(100 * keyboard.y) / canvas.height}%`;
    marker.classList.toggle("down", keyboard.down);
  }

  async function show(file) {
    wipe();
    photo = file;
    canvas.classList.add("photo");
    try {
      const picture = await createImageBitmap(file);
      if (photo !== file) return; // somebody drew or gave another picture meanwhile
      const scale = Math.min(canvas.width / picture.width, canvas.height / picture.height);
      const [width, height] = [picture.width * scale, picture.height * scale];
      ink.imageSmoothingQuality = "high";
      ink.drawImage(
        picture, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height,
      );
    } catch { // a format that browsers do not show, such as TIFF
      if (photo !== file) return;
      ink.fillStyle = "black";
      ink.font = "20px sans-serif";
      ink.fillText(`${file.name}: no preview`, 20, 40, canvas.width - 40);
      return send({ canvas: null, file });
    }
    send({ canvas, file });
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    last = position(event);
    drawLine(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last || !event.isPrimary) return;
    // Browsers join fast movements into one event; its parts keep curves round.
    const parts = event.getCoalescedEvents?.() ?? [];
    for (const part of parts.length ? parts : [event]) {
      const to = position(part);
      drawLine(last, to);
      last = to;
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      if (event.isPrimary) last = null;
    });
  }

  const directions = {
    ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const direction = directions[event.key];
    if (direction) {
      const from = { ...keyboard };
      keyboard.x = Math.min(canvas.width, Math.max(0, keyboard.x + STEP * direction[0]));
      keyboard.y = Math.min(canvas.height, Math.max(0, keyboard.y + STEP * direction[1]));
      if (keyboard.down) drawLine(from, keyboard);
    } else if (event.key === " ") {
      keyboard.down = !keyboard.down;
      if (keyboard.down) drawLine(keyboard, keyboard);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
    } else {
      return;
    }
    event.preventDefault();
    showMarker();
  });
  canvas.addEventListener("blur", () => {
    keyboard.down = false;
    showMarker();
  });

  root.querySelector(".clear").addEventListener("click", clear);
  root.querySelector(".choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) show(input.files[0]);
    input.value = ""; // otherwise the same file could not be chosen again
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault(); // otherwise the browser would leave the page for the file
    if (event.dataTransfer.files.length) show(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) show(event.clipboardData.files[0]);
  });

  wipe();
  showMarker();
}
