"""Flask under waitress, a thread for each request, and a worker with a pool of threads; redis-py with a pool of connections."""
import json
import os
import queue
import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import flask
import redis
import waitress

import marks

PAUSE = float(os.environ['PAUSE'])
THREADS = 400
# In seconds: a machine that is busy stalls.
PATIENCE = 60
client = redis.Redis(
    connection_pool=redis.ConnectionPool.from_url(
        os.environ['REDIS_URL'], decode_responses=True, max_connections=THREADS, socket_timeout=PATIENCE))
app = flask.Flask(__name__)
waiting = {}


def work():
    time.sleep(random.uniform(0, PAUSE))


@app.post('/orders')
def create():
    mark, body = marks.of_request(flask.request.headers), flask.request.get_json()
    number = int(client.incr('orders:seq' + mark))
    work()
    user = json.loads(client.get(f"user:{body['user']}{mark}") or '{}')
    work()
    order = {'order': number, 'user': body['user'], 'items': body['items'], 'city': user.get('city')}
    client.execute_command('SET', f'order:{number}{mark}', json.dumps(order), 'EX', 600)
    client.publish('orders', json.dumps({'order': number, 'user': body['user'], 'count': len(body['items'])}) + mark)
    transaction = client.pipeline(transaction=True)
    transaction.hincrby('stats:orders' + mark, 'created', 1)
    transaction.expire('stats:orders' + mark, 3600)
    transaction.execute()
    return flask.jsonify(order=number), 201


@app.get('/orders/<number>')
def show(number):
    mark = marks.of_request(flask.request.headers)
    order = json.loads(client.get(f'order:{number}{mark}') or 'null')
    work()
    if order is None:
        return flask.jsonify(error='unknown'), 404
    user = json.loads(client.get(f"user:{order['user']}{mark}") or '{}')
    return flask.jsonify(order=order, user=user)


@app.post('/sum')
def total():
    mark, body = marks.of_request(flask.request.headers), flask.request.get_json()
    question = str(uuid.uuid4())
    waiting[question] = answers = queue.Queue()
    client.publish('sum', json.dumps({'id': question, 'data': body}) + mark)
    result, mark_of_answer = answers.get(timeout=PATIENCE)
    client.execute_command('SET', f'total:{result}{mark}{mark_of_answer}', 1, 'EX', 60)
    client.incr('totals' + mark + mark_of_answer)
    return flask.jsonify(total=result)


def answered(answer, mark):
    answers = waiting.pop(answer['id'], None)
    if answers:
        answers.put((answer['total'], mark))


def order_taken(message, mark):
    number = message['order']
    order = json.loads(client.get(f'order:{number}{mark}') or '{}')
    work()
    client.execute_command('SET', f'order:{number}:invoice{mark}', json.dumps({'city': order.get('city')}), 'EX', 600)
    client.publish('orders.done', json.dumps({'order': number, 'kind': 'invoice'}) + mark)
    progress['last'] = number


def sum_wanted(message, mark):
    work()
    rate = int(client.get('rate:' + message['data']['kind'] + mark))
    work()
    result = sum(message['data']['numbers']) * rate
    client.publish('sum.reply', json.dumps({'id': message['id'], 'total': result}) + mark)


progress = {'last': None}


def heartbeat():
    while True:
        time.sleep(0.1 * random.uniform(0.98, 1.02))
        at = int(time.time() * 1000)
        client.setex('health:worker' + marks.NOTHING, 5, at)
        client.publish('health', json.dumps({'last': progress['last'], 'at': at}) + marks.NOTHING)


def listen(handlers, pool):
    subscription = client.pubsub()
    subscription.subscribe(*handlers)
    for message in subscription.listen():
        if message['type'] == 'message':
            payload, mark = marks.of_message(message['data'])
            pool.submit(handlers[message['channel']], json.loads(payload), mark)


def main():
    pool = ThreadPoolExecutor(THREADS)
    if os.environ['ROLE'] == 'worker':
        threading.Thread(target=heartbeat, daemon=True).start()
        listen({'orders': order_taken, 'sum': sum_wanted}, pool)
    else:
        threading.Thread(target=listen, args=({'sum.reply': answered}, pool), daemon=True).start()
        waitress.serve(app, host='127.0.0.1', port=int(os.environ['PORT']), threads=THREADS, connection_limit=1000)


main()
