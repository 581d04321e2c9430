"""Reading digits from Python, cell by cell."""

# %% [markdown]
# # Reading digits from Python
#
# Each `# %%` starts a cell: open the file in VS Code, Spyder or Jupyter (with jupytext), or run it
# as a script. It needs `pip install -e '.[predict]'`.

# %% Draw something to read: a dark 7 on white paper.
import os

import numpy as np
from PIL import Image, ImageDraw

import tiny_mnist

paper = Image.new("L", (100, 120), 255)
ImageDraw.Draw(paper).line([(25, 25), (72, 25), (45, 100)], fill=0, width=9, joint="curve")

# %% The network that comes with the package reads it. PyTorch is not imported.
reader = tiny_mnist.load()
prediction = reader.predict(paper)
print(f"{prediction.text}, {prediction.confidence:.1%} sure, status {prediction.status}")

# %% What the network saw, and how likely it finds each digit.
digit = prediction.digits[0]
print(f"in the box {digit.box} of the picture, as an image of {digit.image.shape}")
for number in digit.ranking[:3]:
    print(f"  {number}: {digit.probabilities[number]:.4f}")

# %% Arrays, paths and lists work alike. Several digits are read as a number.
pixels = np.asarray(paper)
row = np.hstack([pixels, pixels, pixels])
for one in reader.predict([pixels, 255 - pixels, row / 255.0]):
    print(f"{one.name}: {one.text} ({one.status})")

# %% The network of a run of your own, and its LightningModule, which needs PyTorch.
run = os.environ.get("RUN")  # for example runs/2026-…
if run:
    own = tiny_mnist.load(run)
    print(f"{run} reads {own.predict(paper).text}")
    print(own.module.network)
