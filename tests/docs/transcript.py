"""Runs the examples of a Markdown page, in the order in which they stand, in an empty folder.

A comment before a fenced block says what to do with it:

  <!-- file PATH -->                 write the block to PATH
  <!-- run -->                       run its lines that begin with "$ "; the lines below each are what it prints
  <!-- run exit=3 -->                the same; the last command exits with 3, the others with 0
  <!-- run numbers=any -->           the same; a number stands for any number, and spaces for any spaces
  <!-- run background -->            start its one command; go on when it has printed the first line of what is shown

"..." in a line stands for anything; a line that is only "..." stands for any number of lines. Nothing below a command:
its output is not looked at. A page says http://127.0.0.1:8080; the node that runs listens elsewhere, on a free port, with a
data folder of its own, and what is typed and printed is translated.
"""

import os
import pathlib
import queue
import re
import signal
import subprocess
import threading
from dataclasses import dataclass, field

ADDRESS = "127.0.0.1:8080"
BLOCK = re.compile(r"^<!-- (?P<verb>file|run)(?P<options>[^>]*?) ?-->\n+```(?P<language>\S*)\n(?P<text>.*?)^```$", re.M | re.S)
# A command that says nothing for so long hangs. No test of speed: everything here takes seconds.
HANGS_SECONDS = 300


@dataclass
class Step:
    line: int
    verb: str
    text: str
    path: str = ""
    exit: int = 0
    any_number: bool = False
    background: bool = False


@dataclass
class Typed:
    command: str
    output: list = field(default_factory=list)


def steps_of(page):
    text = pathlib.Path(page).read_text()
    steps = []
    for match in BLOCK.finditer(text):
        step = Step(line=text.count("\n", 0, match.start()) + 1, verb=match["verb"], text=match["text"])
        words = match["options"].split()
        if step.verb == "file":
            step.path = words[0]
        else:
            for word in words:
                if word == "background":
                    step.background = True
                elif word == "numbers=any":
                    step.any_number = True
                elif word.startswith("exit="):
                    step.exit = int(word[5:])
                else:
                    raise ValueError(f"{page}:{step.line}: unknown word '{word}'")
        steps.append(step)
    marks = len(re.findall(r"^<!-- (?:file|run)\b", text, re.M))
    if marks != len(steps):
        raise ValueError(f"{page}: {marks} comments mark blocks, but {len(steps)} are followed by one")
    return steps


def commands_of(step):
    typed = []
    for line in step.text.splitlines():
        if line.startswith("$ "):
            typed.append(Typed(line[2:]))
        elif typed and typed[-1].command.endswith("\\") and not typed[-1].output:
            typed[-1].command += "\n" + line
        else:
            assert typed, f"line {step.line}: a block that runs begins with '$ '"
            typed[-1].output.append(line)
    return typed


def pattern_of(lines, any_number):
    parts = []
    for line in lines:
        if line.strip() == "...":
            parts.append(r"(?:[^\n]*\n)*?")
            continue
        piece = ""
        for token in re.findall(r"\.\.\.|\d+| +|[^\d .]+|\.", line.rstrip()):
            if token == "...":
                piece += r"[^\n]*"
            elif any_number and token.isdigit():
                piece += r"\d+"
            elif any_number and token.isspace():
                piece += r" +"
            else:
                piece += re.escape(token)
        parts.append(piece + r" *\n")
    return re.compile("".join(parts))


class Session:
    """A folder, an environment, and what runs in the background."""

    def __init__(self, folder, build):
        self.folder = pathlib.Path(folder)
        self.work = self.folder / "work"
        self.work.mkdir()
        self.background = []
        self.address = ADDRESS
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("SHUNT_")}
        self.env |= {
            "PATH": f"{build}:{os.environ['PATH']}",
            "SHUNT_LISTEN": "127.0.0.1:0",
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "NO_COLOR": "1",
            "CURL_HOME": str(self.folder),
        }
        (self.folder / ".curlrc").write_text("silent\nshow-error\nnoproxy = *\n")

    def close(self):
        for child in self.background:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self.background:
            child.wait(timeout=HANGS_SECONDS)

    def translate(self, text):
        return text.replace(ADDRESS, self.address)

    def back(self, text):
        return text.replace(self.address, ADDRESS)

    def do(self, step):
        if step.verb == "file":
            path = self.work / step.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.text)
            return
        typed = commands_of(step)
        if step.background:
            assert len(typed) == 1, f"line {step.line}: one command runs in the background"
            self.start(typed[0], step)
            return
        for number, each in enumerate(typed):
            self.run(each, step, step.exit if number + 1 == len(typed) else 0)

    def run(self, typed, step, expected_exit):
        done = subprocess.run(["bash", "-c", self.translate(typed.command)], cwd=self.work, env=self.env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=HANGS_SECONDS)
        printed = self.back(done.stdout)
        if printed and not printed.endswith("\n"):
            printed += "\n"
        story = f"line {step.line}: $ {typed.command}\nprinted:\n{printed}"
        if not self.tolerates_exit(typed, expected_exit):
            assert done.returncode == expected_exit, f"{story}and ended with {done.returncode}, not {expected_exit}"
        if typed.output:
            shown = "\n".join(typed.output)
            assert pattern_of(typed.output, step.any_number).fullmatch(printed), f"{story}but the page shows:\n{shown}"

    @staticmethod
    def tolerates_exit(typed, expected_exit):
        # A command that is shown to fail (its error begins with an id) among others that work.
        return expected_exit == 0 and any(re.match(r"S\d{4} ", line) for line in typed.output)

    def start(self, typed, step):
        # A process group of its own would take Ctrl-C's meaning away; SIGTERM means the same to it.
        child = subprocess.Popen(["bash", "-c", "exec " + typed.command], cwd=self.work, env=self.env, text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.background.append(child)
        lines = queue.Queue()

        def read():
            for line in child.stdout:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        printed, wanted = "", None
        while True:
            line = lines.get(timeout=HANGS_SECONDS)
            assert line is not None, f"line {step.line}: $ {typed.command}\nended with {child.wait()} after:\n{printed}"
            printed += line
            bound = re.match(r"ready http://(\S+)", line)
            if bound:
                self.address = bound[1]
                wanted = len(typed.output)
            # What is shown comes at once, as far as it is shown.
            shown = [each for each in typed.output if each.strip() != "..."]
            if wanted and len(self.back(printed[printed.index("ready "):]).splitlines()) >= len(shown):
                break
        match = pattern_of(typed.output, step.any_number).fullmatch(self.back(printed))
        assert match, f"line {step.line}: $ {typed.command}\nprinted:\n{self.back(printed)}but the page shows:\n" + "\n".join(typed.output)
