"use strict";
// One side of a library in JavaScript, as a service of its own: sends as many jobs as it is told and prints their results, or works
// on them until it is ended.
//
//     node program.js LIBRARY send COUNT
//     node program.js LIBRARY work
//
// MODULES is the folder whose node_modules have the libraries.

const [library, role, count] = process.argv.slice(2);
const sides = require(`./of_${library}.js`);

if (role === "send") {
  // Each job has another length, by which its two ends can be told from those of others.
  const texts = Array.from({ length: Number(count) }, (_, number) => "x".repeat(number + 1));
  sides.send(texts).then((results) => {
    // Some libraries keep connections that would keep the process.
    process.stdout.write(JSON.stringify(results) + "\n", () => process.exit(0));
  }, fail);
} else {
  Promise.resolve(sides.work()).catch(fail);
}

function fail(error) {
  console.error(error);
  process.exit(1);
}
