/** What runs: our own processes, their ports, Temporal, the worker, SMTP. */
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { messageOf } from '../../protocols/errors.ts';
import { connectionOptions } from '../../servers/temporal.ts';
import type { Endpoint } from '../../stores/configuration/addresses.ts';
import { SEARCH_ATTRIBUTES } from '../../workflows/contract.ts';
import { taskQueues } from '../../workflows/mail/contract.ts';
import { isAlive } from '../up/birth.ts';
import { fail, failed, ok, warn, type Check, type DoctorContext, type Finding } from './check.ts';

/** On one machine an answer takes milliseconds. */
const ANSWER_TIMEOUT_MS = 3_000;

export const checkRunning: Check = async ({ running, configuration }) => {
  if (!running) return [warn('running', 'Switchyard does not run on this folder', 'switchyard up')];
  const dead = Object.entries(running.pids).filter(([, identity]) => !isAlive(identity));
  if (dead.length === 0) return [ok('running', `since ${running.startedAt}, version ${running.version}`)];
  const names = dead.map(([name]) => name).join(', ');
  return [
    fail(
      'running',
      `${names} is not alive`,
      `See ${join(configuration.state, 'logs')}; it is started again by the supervisor, or by: switchyard up`,
    ),
  ];
};

/** Only while nothing of ours runs: then every port that we want must be free. */
export const checkPorts: Check = async ({ running, addresses, configuration }) => {
  if (running) return [ok('ports', 'held by our own processes')];
  const wanted: [string, Endpoint | null, number | undefined, string][] = [
    ['mail', addresses.smtp, configuration.mail.listen.port, 'mail.listen.port'],
    ['http', addresses.http, configuration.http.port, 'http.port'],
    ['inbox', addresses.inbox, configuration.inbox.port, 'inbox.port'],
    ['editor', addresses.editor, configuration.editor.port, 'editor.port'],
  ];
  const findings: Finding[] = [];
  for (const [name, endpoint, configured, key] of wanted) {
    const trouble = endpoint && (await cannotListen(endpoint));
    if (!endpoint || !trouble) continue;
    const found = `${name} wants ${endpoint.host}:${endpoint.port}: ${trouble}`;
    if (configured === undefined)
      findings.push(
        warn(
          'ports',
          found,
          `Nothing: the next free port is taken at the start. To keep the number, end what listens there (ss -ltnp 'sport = :${endpoint.port}').`,
        ),
      );
    else
      findings.push(
        fail(
          'ports',
          found,
          `End what listens there (ss -ltnp 'sport = :${endpoint.port}'), or change ${key} in switchyard.yaml. Ports below 1024 need root or CAP_NET_BIND_SERVICE.`,
        ),
      );
  }
  return findings.length > 0 ? findings : [ok('ports', 'all free')];
};

/** Why nobody can listen there, or null. */
function cannotListen({ host, port }: Endpoint): Promise<string | null> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(LISTEN_TROUBLE[error.code ?? ''] ?? error.message));
    probe.listen(port, host, () => probe.close(() => resolve(null)));
  });
}

const LISTEN_TROUBLE: Record<string, string> = {
  EADDRINUSE: 'it is taken',
  EACCES: 'this user may not',
  EADDRNOTAVAIL: 'this machine has no such address',
};

export const checkTemporal: Check = async (context) => {
  const { configuration, addresses } = context;
  if (!hasTemporal(context)) return [ok('Temporal', 'started by switchyard up')];
  const { namespace } = configuration.temporal;
  const own = !isExternal(context);
  let connection: Connection;
  try {
    connection = await Connection.connect({
      ...connectionOptions(configuration, addresses),
      connectTimeout: ANSWER_TIMEOUT_MS,
    });
  } catch (error) {
    const fix = own
      ? `See ${join(configuration.state, 'logs', 'temporal.log')}.`
      : 'Start it, or correct TEMPORAL_ADDRESS or temporal.address; without either, switchyard up starts one.';
    return [fail('Temporal', `${addresses.temporal} does not answer: ${messageOf(error)}`, fix)];
  }
  try {
    await connection.workflowService.describeNamespace({ namespace });
    const known = await connection.operatorService.listSearchAttributes({ namespace });
    const missing = SEARCH_ATTRIBUTES.filter((attribute) => !(attribute in (known.customAttributes ?? {})));
    if (missing.length > 0)
      return [
        fail(
          'Temporal',
          `the namespace ${namespace} lacks the search attributes ${missing.join(', ')}`,
          'Start Switchyard again, which adds them, or: temporal operator search-attribute create --type Keyword --name ' +
            missing[0],
        ),
      ];
    return [ok('Temporal', `${addresses.temporal}, namespace ${namespace}`)];
  } catch (error) {
    return [
      fail(
        'Temporal',
        `${addresses.temporal}, namespace ${namespace}: ${messageOf(error)}`,
        `Make the namespace (temporal operator namespace create ${namespace}), or name another in temporal.namespace.`,
      ),
    ];
  } finally {
    await connection.close();
  }
};

/** A queue that nobody polls is mail that nobody delivers. */
export const checkWorker: Check = async (context) => {
  const { configuration, addresses } = context;
  if (!hasTemporal(context)) return [ok('worker', 'started by switchyard up')];
  const { namespace, taskQueue } = configuration.temporal;
  const queues = taskQueues(taskQueue);
  try {
    const connection = await Connection.connect({
      ...connectionOptions(configuration, addresses),
      connectTimeout: ANSWER_TIMEOUT_MS,
    });
    const polled = await Promise.all(
      Object.entries(queues).map(async ([kind, name]) => {
        // Workflow tasks come from the main queue, activities from all.
        const answer = await connection.workflowService.describeTaskQueue({
          namespace,
          taskQueue: { name },
          taskQueueType: kind === 'main' ? 1 : 2,
        });
        return { name, isPolled: (answer.pollers ?? []).length > 0 };
      }),
    ).finally(() => connection.close());
    const silent = polled.filter(({ isPolled }) => !isPolled).map(({ name }) => name);
    if (silent.length === 0) return [ok('worker', `polls ${polled.map(({ name }) => name).join(', ')}`)];
    return [
      fail(
        'worker',
        `nobody polls ${silent.join(', ')}`,
        `See ${join(configuration.state, 'logs', 'worker.log')}, or start one: switchyard worker`,
      ),
    ];
  } catch (error) {
    return [failed('worker', error, 'Mend Temporal first.')];
  }
};

export const checkSmtp: Check = async ({ running, addresses, configuration }) => {
  if (!running) return [ok('SMTP', 'started by switchyard up')];
  const { host, port } = addresses.smtp;
  try {
    const greeting = await firstLine(host, port);
    if (greeting.startsWith('220 ')) return [ok('SMTP', `${host}:${port} says ${greeting}`)];
    return [
      fail(
        'SMTP',
        `${host}:${port} says ${JSON.stringify(greeting)}`,
        'Another server may listen there: see the ports, then start again.',
      ),
    ];
  } catch (error) {
    return [
      fail(
        'SMTP',
        `${host}:${port} does not answer: ${messageOf(error)}`,
        `See ${join(configuration.state, 'logs', 'smtp.log')}.`,
      ),
    ];
  }
};

function firstLine(host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host);
    const end = (act: () => void) => {
      socket.destroy();
      act();
    };
    let text = '';
    socket.setTimeout(ANSWER_TIMEOUT_MS, () =>
      end(() => reject(new Error(`no greeting within ${ANSWER_TIMEOUT_MS / 1_000} s`))),
    );
    socket.on('error', (error) => end(() => reject(error)));
    socket.on('close', () => reject(new Error('the connection was closed')));
    socket.on('data', (chunk) => {
      text += chunk.toString();
      const [line] = text.split('\r\n', 1);
      if (text.includes('\r\n')) end(() => resolve(line ?? ''));
    });
  });
}

function isExternal({ configuration, environment }: DoctorContext): boolean {
  return Boolean(environment.TEMPORAL_ADDRESS ?? configuration.temporal.address);
}

function hasTemporal(context: DoctorContext): boolean {
  return context.running !== null || isExternal(context);
}
