// @grpc/grpc-js, which reads the .proto files itself.
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import { check, collect, equal, eventually, pattern } from "./suite.mjs";

function numbers(call, values) {
  for (const value of values) call.write({ value });
  call.end();
}

export default function declare(test, { address, folder }) {
  const { interop } = grpc.loadPackageDefinition(loader.loadSync(["echo.proto", "native.proto"], { includeDirs: [folder], longs: String, enums: String, defaults: true, oneofs: true }));
  const options = { "grpc.max_receive_message_length": 64 << 20, "grpc.max_send_message_length": 64 << 20 };
  const echo = new interop.v1.Echo(address, grpc.credentials.createInsecure(), options);
  const native = new interop.v1.Native(address, grpc.credentials.createInsecure(), options);
  const zipped = new interop.v1.Echo(address, grpc.credentials.createInsecure(), { ...options, "grpc.default_compression_algorithm": 2 });

  // One answer, or the error; with what came before and after.
  const ask = (client, method, request, metadata = new grpc.Metadata(), callOptions = {}) =>
    new Promise((done) => {
      const outcome = {};
      const call = client[method](request, metadata, callOptions, (error, answer) => {
        Object.assign(outcome, { error, answer });
        if (outcome.status || error) done(outcome);
      });
      call.on("metadata", (before) => (outcome.before = before));
      call.on("status", (status) => {
        outcome.status = status;
        if ("answer" in outcome) done(outcome);
      });
      outcome.call = call;
    });
  const answerTo = async (...all) => {
    const outcome = await ask(...all);
    if (outcome.error) throw outcome.error;
    return outcome.answer;
  };

  test("unary", async () => {
    const answer = await answerTo(echo, "Unary", { text: "zwölf ☃", number: -7, large: "9007199254740993", data: Buffer.from([0, 255]), tags: ["a"], right: 3 });
    equal([answer.text, answer.number, answer.large, [...answer.data], answer.tags, answer.right], ["zwölf ☃", -7, "9007199254740993", [0, 255], ["a"], 3]);
  });
  test("server streaming", async () => {
    for (const client of [echo, native]) {
      equal((await collect(client.Count({ to: 100 }))).map((number) => number.value), [...Array(100).keys()]);
    }
  });
  test("client streaming", async () => {
    for (const client of [echo, native]) {
      const sum = await new Promise((done, fail) => {
        const call = client.Add((error, answer) => (error ? fail(error) : done(answer)));
        numbers(call, [1, 2, 3]);
      });
      equal(sum, { total: 6, count: 3 });
    }
  });
  test("bidirectional streaming, one after the other", async () => {
    for (const client of [echo, native]) {
      const call = client.Running();
      const totals = [];
      call.write({ value: 5 });
      for await (const sum of call) {
        totals.push(sum.total);
        if (totals.length < 3) call.write({ value: 5 + totals.length });
        else call.end();
      }
      equal(totals, [5, 11, 18]);
    }
  });
  test("an error with its details and trailers", async () => {
    const { error } = await ask(echo, "Refuse", { code: 9, message: "über 100 %", detailed: true });
    equal([error.code, error.details], [9, "über 100 %"]);
    equal(error.metadata.get("interop-trailer"), ["told"]);
    check(error.metadata.get("grpc-status-details-bin")[0].includes("google.rpc.ErrorInfo"), "the details are there");
  });
  test("a deadline", async () => {
    const { error } = await ask(echo, "Hang", { name: "grpc-js deadline" }, new grpc.Metadata(), { deadline: Date.now() + 500 });
    equal(error.code, grpc.status.DEADLINE_EXCEEDED);
  });
  test("cancelling reaches the handler", async () => {
    const name = `grpc-js ${Math.random()}`;
    const seen = async (note) => (await answerTo(echo, "Seen", {})).names.includes(note);
    const ended = new Promise((done) => {
      const call = echo.Hang({ name }, (error) => done(error));
      eventually("the handler to begin", () => seen(`${name} began`)).then(() => call.cancel());
    });
    equal((await ended).code, grpc.status.CANCELLED);
    await eventually("the handler to be cancelled", () => seen(`${name} cancelled`));
  });
  test("metadata both ways", async () => {
    const metadata = new grpc.Metadata();
    metadata.set("interop-text", "a b");
    metadata.set("interop-bytes-bin", Buffer.from([0, 1, 254, 255]));
    const { answer, before, status } = await ask(echo, "Hear", { name: "you" }, metadata);
    equal([answer.texts["interop-text"], [...answer.bytes["interop-bytes-bin"]]], ["a b", [0, 1, 254, 255]]);
    equal([before.get("interop-reply"), [...before.get("interop-reply-bin")[0]]], [["hello you"], [0, 1, 254, 255]]);
    equal([status.metadata.get("interop-trailer"), [...status.metadata.get("interop-trailer-bin")[0]]], [["bye"], [255, 0]]);
  });
  test("five mebibytes", async () => {
    const data = Buffer.from(pattern(5 << 20));
    for (const client of [echo, native]) check(data.equals((await answerTo(client, "Unary", { data })).data), "the same bytes come back");
  });
  test("compressed messages", async () => {
    const text = "again and ".repeat(100_000);
    equal((await answerTo(zipped, "Unary", { text })).text === text, true);
  });
  test("many calls at once", async () => {
    const answers = await Promise.all([...Array(300).keys()].map((number) => answerTo(native, "Unary", { number })));
    equal(answers.map((answer) => answer.number), [...Array(300).keys()]);
  });
  return () => [echo, native, zipped].forEach((client) => client.close());
}
