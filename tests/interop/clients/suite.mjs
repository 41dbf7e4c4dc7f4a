// What the scripts here have in common: a list of tests, each told by name how it went. Runs in Node.js and in browsers.

export class Suite {
  constructor() {
    this.tests = [];
    this.test = (name, body) => this.tests.push({ name, body });
  }

  // Runs all of them in order; tell({name, error}) hears of each, without an error when it is well.
  async run(tell) {
    for (const { name, body } of this.tests) {
      let error;
      try {
        await body();
      } catch (thrown) {
        error = String(thrown?.stack ?? thrown);
      }
      await tell({ name, error });
    }
  }
}

function shown(value) {
  return JSON.stringify(value, (_, part) =>
    typeof part === "bigint" ? `${part}n` : part instanceof Uint8Array ? `bytes ${[...part.slice(0, 40)]} (${part.length})` : part);
}

export function equal(found, wanted) {
  if (shown(found) !== shown(wanted)) throw new Error(`found ${shown(found)}, wanted ${shown(wanted)}`);
}

export function check(condition, what) {
  if (!condition) throw new Error(`not so: ${what}`);
}

// What the promise is rejected with.
export async function refused(promise) {
  let answer;
  try {
    answer = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`it was to fail, and answered ${shown(answer)}`);
}

export async function eventually(what, condition, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${seconds} s in vain for: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

export async function collect(stream) {
  const messages = [];
  for await (const message of stream) messages.push(message);
  return messages;
}

export function pattern(size) {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; ++at) bytes[at] = (at * 7 + (at >> 8)) & 255;
  return bytes;
}
