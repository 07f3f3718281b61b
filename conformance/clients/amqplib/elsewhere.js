// Loaded before one of the client's tutorials, which look for a broker on localhost's usual port: sends them to the
// broker under test, so that they need no change.
'use strict';

const net = require('node:net');

const { hostname, port } = new URL(process.env.TUTORIAL_BROKER);
const connect = net.connect;
net.connect = (options, ...rest) => connect({ ...options, host: hostname, port: Number(port) }, ...rest);
