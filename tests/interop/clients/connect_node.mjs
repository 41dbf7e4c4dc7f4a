// @connectrpc/connect-node: three protocols, two codecs, both versions of HTTP, with and without compression.
import { readFileSync } from "node:fs";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport, compressionGzip, Http2SessionManager } from "@connectrpc/connect-node";
import { declareTransport, registryOf } from "./connect.mjs";

export default function declare(test, { url, secureUrl, authority, descriptors }) {
  const registry = registryOf(readFileSync(descriptors));
  const sessions = [];
  const options = (more) => {
    const all = { baseUrl: url, nodeOptions: { ca: readFileSync(authority) }, readMaxBytes: 64 << 20, writeMaxBytes: 64 << 20, acceptCompression: [], ...more };
    if (all.httpVersion === "2") sessions.push((all.sessionManager = new Http2SessionManager(all.baseUrl, undefined, all.nodeOptions)));
    return all;
  };
  const zipped = { sendCompression: compressionGzip, acceptCompression: [compressionGzip], compressMinBytes: 100 };
  const stream = { sends: true, both: true };
  const half = { sends: true, both: false };
  for (const [name, transport, abilities] of [
    ["connect 1.1", createConnectTransport(options({ httpVersion: "1.1" })), half],
    ["connect 1.1 json gzip get", createConnectTransport(options({ httpVersion: "1.1", useBinaryFormat: false, useHttpGet: true, ...zipped })), half],
    ["connect 2", createConnectTransport(options({ httpVersion: "2", useHttpGet: true })), stream],
    ["connect 2 gzip", createConnectTransport(options({ httpVersion: "2", ...zipped })), stream],
    ["connect 2 json", createConnectTransport(options({ httpVersion: "2", useBinaryFormat: false })), stream],
    ["grpc", createGrpcTransport(options({ httpVersion: "2" })), stream],
    ["grpc json gzip", createGrpcTransport(options({ httpVersion: "2", useBinaryFormat: false, ...zipped })), stream],
    ["connect 1.1 tls", createConnectTransport(options({ baseUrl: secureUrl, httpVersion: "1.1" })), half],
    ["grpc tls", createGrpcTransport(options({ baseUrl: secureUrl, httpVersion: "2" })), stream],
    ["grpc-web 1.1", createGrpcWebTransport(options({ httpVersion: "1.1" })), half],
    ["grpc-web 2 gzip", createGrpcWebTransport(options({ httpVersion: "2", ...zipped })), stream],
  ]) {
    declareTransport(test, registry, name, transport, abilities);
  }
  return () => sessions.forEach((session) => session.abort());
}
