<?php
// Broadcasts every payload with Laravel's own broadcaster for Redis, and publishes it with Laravel's Redis connection.
//
//     php broadcast.php CLIENT     phpredis or predis
//
// The broadcaster publishes from a Lua script (EVAL), one message for several channels. Reads names of files from
// standard input, a line each; answers `done` on standard output when the payload in it is out.

require 'Illuminate/Broadcasting/autoload.php';
require 'Illuminate/Redis/autoload.php';

use Illuminate\Broadcasting\Broadcasters\RedisBroadcaster;
use Illuminate\Container\Container;
use Illuminate\Redis\RedisManager;

[, $client] = $argv;
[$host, $port] = explode(':', getenv('REDIS_LARAVEL'));
$manager = new RedisManager(new Container(), $client, [
    'options' => ['prefix' => ''],
    'default' => ['host' => $host, 'port' => (int) $port, 'database' => 0, 'read_write_timeout' => 60],
]);
$broadcaster = new RedisBroadcaster($manager, 'default', 'laravel_');

while (($file = fgets(STDIN)) !== false) {
    $payload = file_get_contents(trim($file));
    // JSON has no bytes: what is no text travels as base64, as it would in an event of an application.
    $part = str_ends_with(trim($file), '.bin') ? base64_encode($payload) : $payload;
    $broadcaster->broadcast(['orders', 'private-user.7'], 'App\\Events\\Shipped', ['part' => $part]);
    $manager->connection()->publish('laravel_direct', $payload);
    echo "done\n";
}
