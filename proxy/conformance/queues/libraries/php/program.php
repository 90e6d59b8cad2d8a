<?php
// One side of a library in PHP, as a service of its own: sends as many jobs as it is told and prints their results, or works on
// them until it is ended.
//
//     php program.php LIBRARY send COUNT
//     php program.php LIBRARY work

error_reporting(E_ALL & ~E_DEPRECATED);

[, $library, $role] = $argv;
require __DIR__ . "/of_$library.php";

if ($role === 'send') {
    // Each job has another length, by which its two ends can be told from those of others.
    echo json_encode(send(array_map(fn ($number) => str_repeat('x', $number), range(1, (int) $argv[3])))), "\n";
} else {
    work();
}
