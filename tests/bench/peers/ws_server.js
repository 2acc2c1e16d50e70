// The peer Node `ws`: no compression, acknowledging heartbeats like the floor. Run with --expose-gc and NODE_PATH.
'use strict';
const http = require('http');
const { WebSocketServer } = require('ws');

const [BEAT, ACK] = ['{"type":"heartbeat"}', '{"type":"ack"}'];
const WELCOME = '{"type":"welcome","session":"s-5f0c2a9b7d1e4f60","resume":"r-91c7d2e8a4b05f36c1d9e7a2b4f80356",' +
  '"heartbeat_seconds":30,"timeout_seconds":75,"model":"epop","seats":[]}';

const server = http.createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 4096 });
sockets.on('connection', (socket) => {
  socket.on('message', (data) => socket.send(data.toString() === BEAT ? ACK : WELCOME));
  socket.on('error', () => socket.terminate());
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => console.log(JSON.stringify({ port: server.address().port })));

process.stdin.on('data', (line) => {
  if (line.toString().startsWith('collect')) global.gc();
  console.log(JSON.stringify({ connections: sockets.clients.size }));
});
process.stdin.on('end', () => process.exit(0));
