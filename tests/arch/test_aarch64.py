"""The shared-memory ring on another architecture: cross-compiled for aarch64, whose memory order is weaker than x86's, and run
by qemu's user mode. What the processor may reorder is for the model checker, which runs here too."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHM = ROOT / "src/link/shm"
GTEST = pathlib.Path("/usr/src/googletest/googletest")
SYSROOT = pathlib.Path("/usr/aarch64-linux-gnu")
# Only what needs nothing but the ring and the standard library.
TESTS = [*sorted(SHM.glob("ring_model*_test.cpp")), SHM / "ring_test.cpp"]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    out = tmp_path_factory.mktemp("aarch64") / "ring_tests"
    done = subprocess.run(
        ["clang++-19", "--target=aarch64-linux-gnu", "-fuse-ld=lld-19", "-std=c++23", "-O1", f"-I{ROOT / 'src'}", f"-I{GTEST}",
         f"-isystem{GTEST / 'include'}", f"-isystem{SYSROOT / 'include'}", "-o", out, *TESTS, GTEST / "src/gtest-all.cc",
         GTEST / "src/gtest_main.cc", "-lpthread"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert b"\xb7\x00" == out.read_bytes()[18:20], "this is no program for aarch64"
    return out


def test_the_rings_tests_pass_on_aarch64(program):
    done = subprocess.run(["qemu-aarch64", "-L", SYSROOT, program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert "[  PASSED  ]" in done.stdout
