"""The C file on the host and on a Cortex-M3."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from support.program import PROJECT
from tiny_mnist.data.idx import LabelledImages
from tiny_mnist.export import c
from tiny_mnist.export.export import FORMATS, Comparison, export
from tiny_mnist.export.safetensors_format import load_tiny_cnn
from tiny_mnist.inference import pretrained

EXAMPLES = PROJECT / "examples" / "c"
CROSS_COMPILER = "arm-none-eabi-gcc"
BOARD_FLAGS = (
    "-std=gnu99", "-O2", "-mcpu=cortex-m3", "-mthumb", "-ffunction-sections", "-fdata-sections",
    "-Wl,--gc-sections", "--specs=rdimon.specs",
)  # fmt: skip
QEMU = ("qemu-system-arm", "-M", "lm3s6965evb", "-nographic", "-monitor", "none", "-serial", "none")

needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
needs_board = pytest.mark.skipif(
    not (shutil.which(CROSS_COMPILER) and shutil.which(QEMU[0])),
    reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm",
)


@pytest.fixture(scope="module")
def network_c(mnist: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C file of the shipped network."""
    path = tmp_path_factory.mktemp("c") / "tiny-mnist.c"
    network = load_tiny_cnn(pretrained.WEIGHTS)
    small = LabelledImages(*mnist[:2], mnist.test_images[:300], mnist.test_labels[:300], mnist.info)
    result = export(network, path, small, {"run": "a */ name\nof two lines"}, FORMATS["c"])
    assert isinstance(result, Comparison) or not shutil.which("cc")
    return path


def run(command: list[str | Path], folder: Path) -> str:
    """Standard output of a program that succeeds."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_board(sources: list[Path], folder: Path, *options: str) -> Path:
    """Compile a program for the board."""
    program = folder / "board.elf"
    board = [EXAMPLES / "startup.c", "-T", EXAMPLES / "board.ld", "-o", program, *options]
    run([CROSS_COMPILER, *BOARD_FLAGS, "-Wall", "-Wextra", "-Werror", *sources, *board], folder)
    return program


def read_linker_map(path: Path, object_file: Path) -> dict[str, int]:
    """Bytes of one object file in the linked program: .text, .rodata, .data and .bss."""
    linked = path.read_text().partition("Linker script and memory map")[2]
    placed = re.findall(
        rf"^ \.(text|rodata|data|bss)\S*\s+0x\w+\s+0x(\w+) {re.escape(str(object_file))}$",
        linked,
        re.MULTILINE,
    )
    sizes = dict.fromkeys(("text", "rodata", "data", "bss"), 0)
    for section, size in placed:
        sizes[section] += int(size, 16)
    return sizes


def write_images(path: Path, images: Tensor) -> None:
    """The raw images one after the other."""
    path.write_bytes(images.numpy().tobytes())


def test_constants_and_buffers_are_within_their_limits(network_c: Path) -> None:
    text = network_c.read_text()
    memory = re.search(r"Memory: ([\d,]+) bytes of constants, ([\d,]+) bytes of static", text)
    assert memory
    constants, buffers = (int(number.replace(",", "")) for number in memory.groups())
    assert constants <= 12_000
    assert buffers <= 10_000
    # A run's name can neither end the comment nor its line.
    assert "run: a * / name of two lines\n" in text
    assert not re.search(r"\b(float|double|malloc)\b", text.partition("#include")[2])


@needs_compiler
def test_sanitizers_stop_a_program_that_reads_outside_its_image(
    network_c: Path, tmp_path: Path, mnist: LabelledImages
) -> None:
    wrong = network_c.read_text().replace("  28, 1, 8, 3, 1,", "  29, 1, 8, 3, 1,")
    path = tmp_path / "wrong.c"
    path.write_text(wrong)
    try:
        with pytest.raises(c.UserError, match="fails when it runs"):
            c.run_c(path, mnist.test_images[:3], "-O2", *c.SANITIZERS)
    except c.CheckUnavailableError as error:
        pytest.skip(str(error))


@needs_compiler
def test_example_for_the_host_prints_the_digits(
    network_c: Path, mnist: LabelledImages, tmp_path: Path
) -> None:
    write_images(tmp_path / "images.raw", mnist.test_images[:50])
    run(["cc", *c.WARNINGS, "-o", "digits", EXAMPLES / "main.c", network_c], tmp_path)
    lines = run(["./digits", "images.raw"], tmp_path).splitlines()
    logits = c.run_c(network_c, mnist.test_images[:50], "-O2")
    assert [int(line.partition(":")[0]) for line in lines] == logits.argmax(dim=1).tolist()
    shown = torch.tensor([[float(n) for n in line.split()[1:]] for line in lines])
    assert torch.equal(shown, logits)


@pytest.mark.slow
@needs_compiler
@needs_board
def test_cortex_m3_gives_the_same_logits_as_the_host(
    network_c: Path, mnist: LabelledImages, tmp_path: Path
) -> None:
    write_images(tmp_path / "images.raw", mnist.test_images[:200])
    run(["cc", *c.WARNINGS, "-o", "digits", EXAMPLES / "main.c", network_c], tmp_path)
    host = run(["./digits"], tmp_path)
    program = build_board([EXAMPLES / "main.c", network_c], tmp_path)
    semihosting = ["-semihosting-config", "enable=on,target=native", "-kernel", program]
    board = run([*QEMU, *semihosting], tmp_path)
    assert board == host
    assert len(board.splitlines()) == 200


@pytest.mark.slow
@needs_board
def test_cortex_m3_needs_little_memory_and_time(
    network_c: Path, mnist: LabelledImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    object_file = tmp_path / "network.o"
    compile_alone = [CROSS_COMPILER, *BOARD_FLAGS[:4], "-fstack-usage", "-c"]
    run([*compile_alone, "-o", object_file, network_c], tmp_path)
    frames = [
        int(line.split("\t")[1]) for line in object_file.with_suffix(".su").read_text().splitlines()
    ]
    assert sum(frames) < 200, "bytes of stack, if all functions called each other"
    program = build_board([EXAMPLES / "main.c", object_file], tmp_path, "-Wl,-Map=board.map")
    sections = read_linker_map(tmp_path / "board.map", object_file)
    assert sections["rodata"] <= 12_000
    stated = re.search(r"Memory: ([\d,]+) bytes of constants", network_c.read_text())
    assert stated
    assert sections["rodata"] == int(stated[1].replace(",", ""))
    assert sections["bss"] + sections["data"] <= 10_000

    write_images(tmp_path / "images.raw", mnist.test_images[:1])
    counter = Path(__file__).with_name("count_instructions.c")
    program = build_board([counter, network_c], tmp_path)
    semihosting = ["-semihosting-config", "enable=on,target=native", "-kernel", program]
    instructions = int(run([*QEMU, "-icount", "shift=0", *semihosting], tmp_path))
    with capsys.disabled():
        print(f"\nCortex-M3, -O2: {instructions:,} instructions an image, {sections} bytes")
    assert 1_000_000 < instructions < 12_000_000
