<?php
// Laravel's queue, which adds jobs and hands them over by scripts, with the client that LARAVEL_CLIENT says. A worker waits
// for jobs with BLPOP on a list of its own (`block_for`).

require 'Illuminate/Queue/autoload.php';
require 'Illuminate/Redis/autoload.php';
require 'Illuminate/Bus/autoload.php';
require 'Illuminate/Events/autoload.php';

use Illuminate\Bus\Dispatcher as Bus;
use Illuminate\Container\Container;
use Illuminate\Contracts\Bus\Dispatcher as BusContract;
use Illuminate\Contracts\Container\Container as ContainerContract;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Events\Dispatcher as Events;
use Illuminate\Queue\Capsule\Manager;
use Illuminate\Queue\Worker;
use Illuminate\Queue\WorkerOptions;
use Illuminate\Redis\RedisManager;

/** A job as an application has it. Laravel keeps no results: the job leaves its own in a list that is named after its text. */
class Length implements ShouldQueue
{
    public string $text;

    public function __construct(string $text)
    {
        $this->text = $text;
    }

    public function handle(): void
    {
        $length = strlen($this->text);
        Container::getInstance()['redis']->connection()->rpush("result:$length", $length);
    }
}

/** What goes wrong ends the worker. */
class Failing implements ExceptionHandler
{
    public function report(Throwable $problem)
    {
        throw $problem;
    }

    public function shouldReport(Throwable $problem)
    {
        return true;
    }

    public function render($request, Throwable $problem)
    {
        throw $problem;
    }

    public function renderForConsole($output, Throwable $problem)
    {
        throw $problem;
    }
}

function application(): Manager
{
    $container = Container::getInstance();
    $address = parse_url(getenv('REDIS_URL'));
    $server = ['host' => $address['host'], 'port' => $address['port'], 'database' => 0, 'read_write_timeout' => 60];
    $options = ['options' => ['prefix' => ''], 'default' => $server];
    $container->instance('redis', new RedisManager($container, getenv('LARAVEL_CLIENT'), $options));
    $container->instance(ContainerContract::class, $container);
    $container->instance(BusContract::class, new Bus($container));
    $container->instance('events', new Events($container));
    $queue = new Manager($container);
    $queue->addConnection(['driver' => 'redis', 'connection' => 'default', 'queue' => 'default', 'block_for' => 5], 'default');

    return $queue;
}

function send(array $texts): array
{
    $queue = application();
    foreach ($texts as $text) {
        $queue->getConnection()->push(new Length($text));
    }
    $redis = Container::getInstance()['redis']->connection();
    $results = [];
    foreach ($texts as $text) {
        $answer = $redis->blpop(['result:' . strlen($text)], 60) ?? throw new RuntimeException('no result of ' . strlen($text));
        $results[] = (int) $answer[1];
    }

    return $results;
}

function work(): void
{
    $queue = application();
    $container = Container::getInstance();
    $worker = new Worker($queue->getQueueManager(), $container['events'], new Failing(), fn () => false);
    $worker->daemon('default', 'default', new WorkerOptions());
}
