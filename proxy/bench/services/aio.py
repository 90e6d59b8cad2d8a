"""aiohttp and a worker with a task for each message; redis.asyncio with a pool of connections."""
import asyncio
import json
import os
import random
import time
import uuid

import redis.asyncio as redis
from aiohttp import web

import marks

PAUSE = float(os.environ['PAUSE'])
# In seconds: a machine that is busy stalls.
PATIENCE = 60
client = redis.Redis(
    connection_pool=redis.ConnectionPool.from_url(
        os.environ['REDIS_URL'], decode_responses=True, max_connections=500, socket_timeout=PATIENCE))
waiting = {}
tasks = set()


async def work():
    await asyncio.sleep(random.uniform(0, PAUSE))


async def create(request):
    mark, body = marks.of_request(request.headers), await request.json()
    number = int(await client.incr('orders:seq' + mark))
    await work()
    user = json.loads(await client.get(f"user:{body['user']}{mark}") or '{}')
    await work()
    order = {'order': number, 'user': body['user'], 'items': body['items'], 'city': user.get('city')}
    await client.execute_command('SET', f'order:{number}{mark}', json.dumps(order), 'EX', 600)
    await client.publish('orders', json.dumps({'order': number, 'user': body['user'], 'count': len(body['items'])}) + mark)
    async with client.pipeline(transaction=True) as transaction:
        transaction.hincrby('stats:orders' + mark, 'created', 1)
        transaction.expire('stats:orders' + mark, 3600)
        await transaction.execute()
    return web.json_response({'order': number}, status=201)


async def show(request):
    mark, number = marks.of_request(request.headers), request.match_info['number']
    order = json.loads(await client.get(f'order:{number}{mark}') or 'null')
    await work()
    if order is None:
        return web.json_response({'error': 'unknown'}, status=404)
    user = json.loads(await client.get(f"user:{order['user']}{mark}") or '{}')
    return web.json_response({'order': order, 'user': user})


async def total(request):
    mark, body = marks.of_request(request.headers), await request.json()
    question = str(uuid.uuid4())
    waiting[question] = answer = asyncio.get_running_loop().create_future()
    await client.publish('sum', json.dumps({'id': question, 'data': body}) + mark)
    result, mark_of_answer = await asyncio.wait_for(answer, PATIENCE)
    await client.execute_command('SET', f'total:{result}{mark}{mark_of_answer}', 1, 'EX', 60)
    await client.incr('totals' + mark + mark_of_answer)
    return web.json_response({'total': result})


async def answered(answer, mark):
    future = waiting.pop(answer['id'], None)
    if future and not future.done():
        future.set_result((answer['total'], mark))


async def order_taken(message, mark):
    number = message['order']
    order = json.loads(await client.get(f'order:{number}{mark}') or '{}')
    await work()
    await client.execute_command('SET', f'order:{number}:invoice{mark}', json.dumps({'city': order.get('city')}), 'EX', 600)
    await client.publish('orders.done', json.dumps({'order': number, 'kind': 'invoice'}) + mark)
    progress['last'] = number


async def sum_wanted(message, mark):
    await work()
    rate = int(await client.get('rate:' + message['data']['kind'] + mark))
    await work()
    result = sum(message['data']['numbers']) * rate
    await client.publish('sum.reply', json.dumps({'id': message['id'], 'total': result}) + mark)


progress = {'last': None}


async def heartbeat():
    while True:
        await asyncio.sleep(0.1 * random.uniform(0.98, 1.02))
        at = int(time.time() * 1000)
        await client.setex('health:worker' + marks.NOTHING, 5, at)
        await client.publish('health', json.dumps({'last': progress['last'], 'at': at}) + marks.NOTHING)


def begin(coroutine):
    task = asyncio.ensure_future(coroutine)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def listen(handlers):
    subscription = client.pubsub()
    await subscription.subscribe(*handlers)
    async for message in subscription.listen():
        if message['type'] == 'message':
            payload, mark = marks.of_message(message['data'])
            begin(handlers[message['channel']](json.loads(payload), mark))


async def serve():
    app = web.Application()
    app.add_routes([web.post('/orders', create), web.get('/orders/{number}', show), web.post('/sum', total)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, '127.0.0.1', int(os.environ['PORT'])).start()
    await listen({'sum.reply': answered})


async def main():
    if os.environ['ROLE'] == 'worker':
        begin(heartbeat())
        await listen({'orders': order_taken, 'sum': sum_wanted})
    else:
        await serve()


asyncio.run(main())
