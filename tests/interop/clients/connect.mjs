// What every transport of Connect's clients must do; the streams that a browser can't send are left out there.
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { check, collect, equal, eventually, pattern, refused } from "./suite.mjs";

export function registryOf(bytes) {
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
}

async function* numbers(...values) {
  for (const value of values) yield { value };
}

// `transport`, named `name`; `sends`: it can send streams; `both`: and receive while it does.
export function declareTransport(test, registry, name, transport, { sends, both }) {
  const echo = createClient(registry.getService("interop.v1.Echo"), transport);
  const native = createClient(registry.getService("interop.v1.Native"), transport);
  const seen = async (note) => (await echo.seen({})).names.includes(note);

  test(`${name}: unary`, async () => {
    const sent = {
      text: "zwölf Boxkämpfer ☃", number: -7, large: 9007199254740993n, data: new Uint8Array([0, 255]), tags: ["a", "b"],
      counts: { x: 1 }, colour: 2, maybe: false, inner: { name: "outer", parts: [{ name: "inner" }] },
      at: { seconds: 1795264496n, nanos: 789000000 }, ratio: 0.1, choice: { case: "right", value: 0 },
    };
    for (const client of [echo, native]) {
      const answer = await client.unary(sent);
      equal([answer.text, answer.number, answer.large, answer.data, answer.tags], [sent.text, sent.number, sent.large, sent.data, sent.tags]);
      equal([answer.counts, answer.colour, answer.maybe, answer.ratio, answer.choice], [sent.counts, sent.colour, sent.maybe, sent.ratio, sent.choice]);
      equal([answer.inner.parts[0].name, answer.at.nanos], ["inner", 789000000]);
    }
  });
  test(`${name}: a method without side effects`, async () => {
    equal((await echo.read({ text: "read only", tags: ["&=?"] })).tags, ["&=?"]);
  });
  test(`${name}: server streaming`, async () => {
    for (const client of [echo, native]) {
      equal((await collect(client.count({ to: 100 }))).map((number) => number.value), [...Array(100).keys()]);
    }
  });
  test(`${name}: an empty stream`, async () => equal(await collect(native.count({ to: 0 })), []));
  if (sends) {
    test(`${name}: client streaming`, async () => {
      for (const client of [echo, native]) {
        const sum = await client.add(numbers(1, 2, 3));
        equal([sum.total, sum.count], [6, 3]);
      }
    });
    test(`${name}: what does not exist`, async () => {
      const service = registry.getService("interop.v1.Echo");
      const nobody = { ...service, typeName: "interop.v1.Nobody" };
      nobody.methods = [{ ...service.method.unary, parent: nobody }];
      const error = ConnectError.from(await refused(createClient(nobody, transport).unary({})));
      check([Code.Unimplemented, Code.NotFound].includes(error.code), `${error}`);
    });
    test(`${name}: client streaming of nothing`, async () => equal((await native.add(numbers())).count, 0));
  }
  if (both) {
    test(`${name}: bidirectional streaming, one after the other`, async () => {
      for (const client of [echo, native]) {
        let wake;
        const totals = [];
        const asked = async function* () {
          for (const value of [5, 6, 7]) {
            yield { value };
            await new Promise((done) => (wake = done));
          }
        };
        for await (const sum of client.running(asked())) {
          totals.push(sum.total);
          wake();
        }
        equal(totals, [5, 11, 18]);
      }
    });
  }
  test(`${name}: every code comes as it is`, async () => {
    for (const client of [echo, native]) {
      for (let code = 1; code <= 16; ++code) {
        const error = ConnectError.from(await refused(client.refuse({ code, message: `über ${code} %` })));
        equal([Code[error.code], error.rawMessage], [Code[code], `über ${code} %`]);
      }
    }
  });
  test(`${name}: an error with its details and trailers`, async () => {
    const error = ConnectError.from(await refused(echo.refuse({ code: 9, message: "no", detailed: true })));
    const found = error.findDetails(registry.getMessage("google.rpc.ErrorInfo"));
    check(found.some((detail) => detail.reason === "AS_ASKED" && detail.domain === "interop"), `the detail is among ${JSON.stringify(error.details)}`);
    equal(error.metadata.get("interop-trailer"), "told");
  });
  test(`${name}: a stream that breaks off gives what came before`, async () => {
    const values = [];
    const error = ConnectError.from(await refused((async () => {
      for await (const number of echo.breaksOff({ to: 3 })) values.push(number.value);
    })()));
    equal([values, error.code, error.rawMessage], [[0, 1, 2], Code.FailedPrecondition, "the thread broke"]);
    check(error.findDetails(registry.getMessage("google.rpc.ErrorInfo")).length > 0, "the detail is there");
  });
  test(`${name}: a deadline`, async () => {
    const note = `${name} deadline ${Math.random()}`;
    const error = ConnectError.from(await refused(echo.hang({ name: note }, { timeoutMs: 500 })));
    equal(error.code, Code.DeadlineExceeded);
    await eventually("the handler to be cancelled", () => seen(`${note} cancelled`));
  });
  test(`${name}: the deadline travels`, async () => {
    const { remaining } = await echo.hear({}, { timeoutMs: 100_000 });
    check(remaining > 50 && remaining <= 100, `${remaining} s remain of 100`);
  });
  test(`${name}: cancelling reaches the handler`, async () => {
    const note = `${name} cancel ${Math.random()}`;
    const abort = new AbortController();
    const hanging = refused(echo.hang({ name: note }, { signal: abort.signal }));
    await eventually("the handler to begin", () => seen(`${note} began`));
    abort.abort();
    equal(ConnectError.from(await hanging).code, Code.Canceled);
    await eventually("the handler to be cancelled", () => seen(`${note} cancelled`));
  });
  test(`${name}: leaving a stream reaches the handler`, async () => {
    const note = `${name} leave ${Math.random()}`;
    const abort = new AbortController();
    const values = [];
    await refused((async () => {
      for await (const number of echo.hangAfter({ to: 2 }, { headers: { "interop-name": note }, signal: abort.signal })) {
        values.push(number.value);
        if (values.length === 2) abort.abort();
      }
    })());
    equal(values, [0, 1]);
    await eventually("the handler to be cancelled", () => seen(`${note} cancelled`));
  });
  test(`${name}: metadata both ways`, async () => {
    let before, after;
    const answer = await echo.hear({ name: "you" }, {
      headers: { "interop-text": "a b", "interop-bytes-bin": "AAH+/w" },
      onHeader: (headers) => (before = headers),
      onTrailer: (trailers) => (after = trailers),
    });
    equal([answer.texts["interop-text"], answer.bytes["interop-bytes-bin"]], ["a b", new Uint8Array([0, 1, 254, 255])]);
    equal([before.get("interop-reply"), before.get("interop-reply-bin")?.replace(/=+$/, "")], ["hello you", "AAH+/w"]);
    equal([after.get("interop-trailer"), after.get("interop-trailer-bin")?.replace(/=+$/, "")], ["bye", "/wA"]);
  });
  test(`${name}: five mebibytes`, async () => {
    const data = pattern(5 << 20);
    for (const client of [echo, native]) {
      const answer = await client.unary({ data });
      check(answer.data.length === data.length && answer.data.every((byte, at) => byte === data[at]), "the same bytes come back");
    }
  });
  test(`${name}: a large stream`, async () => {
    const lengths = (await collect(native.count({ to: 20, bytes: 200_000 }))).map((number) => number.data.length);
    equal(lengths, Array(20).fill(200_000));
  });
}
