// @connectrpc/connect-web, and a WebSocket, in a page of another origin. Built into one file for the browser.
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { declareTransport, registryOf } from "./connect.mjs";
import { Suite, check, equal } from "./suite.mjs";

// The messages that come until the socket is closed, and how it was; `begin` is told of the open socket.
function talk(url, begin) {
  return new Promise((done, fail) => {
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    const messages = [];
    socket.onopen = () => begin(socket);
    socket.onmessage = (event) => {
      messages.push(typeof event.data === "string" ? event.data : new Uint8Array(event.data));
      socket.heard?.(messages);
    };
    socket.onerror = () => fail(new Error("the socket broke"));
    socket.onclose = (event) => done({ messages, code: event.code, reason: event.reason });
  });
}

async function main() {
  const { url, descriptors } = await (await fetch("/configuration")).json();
  const registry = registryOf(Uint8Array.from(atob(descriptors), (letter) => letter.charCodeAt(0)));
  const suite = new Suite();
  const test = suite.test;
  const abilities = { sends: false, both: false };
  declareTransport(test, registry, "connect", createConnectTransport({ baseUrl: url, useBinaryFormat: true }), abilities);
  declareTransport(test, registry, "connect json get", createConnectTransport({ baseUrl: url, useHttpGet: true }), abilities);
  declareTransport(test, registry, "grpc-web", createGrpcWebTransport({ baseUrl: url }), abilities);

  const socketUrl = url.replace("http", "ws");
  test("websocket: a stream both ways", async () => {
    const { messages, code } = await talk(`${socketUrl}/plain/running`, (socket) => {
      socket.heard = (heard) => {
        if (heard.length === 3) socket.close(1000);
        else socket.send(JSON.stringify({ value: 5 + heard.length }));
      };
      socket.send(JSON.stringify({ value: 5 }));
    });
    equal(messages.map((text) => JSON.parse(text).total), [5, 11, 18]);
    equal(code, 1000);
  });
  test("websocket: an answer that streams, to its end", async () => {
    const { messages, code } = await talk(`${socketUrl}/plain/count`, (socket) => socket.send(JSON.stringify({ to: 3 })));
    equal(messages.map((text) => JSON.parse(text).value), [0, 1, 2]);
    equal(code, 1000);
  });
  test("websocket: bytes", async () => {
    const { messages } = await talk(`${socketUrl}/plain/reverse`, (socket) => socket.send(new Uint8Array([1, 2, 3])));
    equal(messages.map((message) => [...message]), [[3, 2, 1]]);
  });
  test("websocket: the close code carries the status", async () => {
    const { code, reason } = await talk(`${socketUrl}/plain/refuse`, (socket) => socket.send(JSON.stringify({ code: "not_found", message: "gone" })));
    check(code >= 4000 && code <= 4999 && reason.includes("gone"), `${code} ${reason}`);
  });

  await suite.run((result) => fetch("/result", { method: "POST", body: JSON.stringify(result) }));
}

main()
  .catch((error) => fetch("/result", { method: "POST", body: JSON.stringify({ name: "(the page itself)", error: String(error.stack ?? error) }) }))
  .finally(() => fetch("/finished", { method: "POST", body: "" }));
