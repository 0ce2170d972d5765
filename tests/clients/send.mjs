// Sends a file of raw audio over a WebSocket with `ws`, and prints what the server said as one JSON document.
// node send.mjs URL FILE FRAME_BYTES stop|close [SUBPROTOCOL]
import { readFileSync } from 'node:fs';
import WebSocket from 'ws';

const [url, file, frameBytes, ending, subprotocol] = process.argv.slice(2);
const audio = readFileSync(file);
const socket = new WebSocket(url, subprotocol ? [subprotocol] : [], { perMessageDeflate: false });
const messages = [];

function sendAll() {
  for (let at = 0; at < audio.length; at += Number(frameBytes)) {
    socket.send(audio.subarray(at, at + Number(frameBytes)));
  }
  if (ending === 'stop') socket.send(JSON.stringify({ type: 'stop' }));
  else socket.close(1000);
}

socket.on('message', (data, isBinary) => {
  if (isBinary) throw new Error('the server sent binary');
  const first = messages.push(JSON.parse(data)) === 1;
  if (first) sendAll();
});
socket.on('close', (code, reason) => {
  console.log(JSON.stringify({ messages, code, reason: reason.toString() }));
});
