import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfiguration } from '../../../stores/configuration/load.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-configuration-'));
  file = join(folder, 'switchyard.yaml');
});
afterEach(() => rmSync(folder, { recursive: true }));

const load = (text: string) => {
  writeFileSync(file, text);
  return loadConfiguration({ folder });
};

describe('a configuration that is wrong', () => {
  const bomb = [
    'a: &a [x,x,x,x,x,x,x,x,x,x]',
    ...'bcdefg'
      .split('')
      .map((name, index) => `${name}: &${name} [${Array(10).fill(`*${'abcdef'[index]}`).join(',')}]`),
  ];
  const rules = (...lines: string[]) =>
    ['mail:', '  domains:', '    a.test:', '      rules:', ...lines.map((line) => `        ${line}`)].join('\n');
  it.each([
    ['an unknown key', 'mail:\n  limts: {}\n', '2:3', 'mail.limts: unknown key; did you mean "limits"?'],
    ['an unknown key at the top', '# hi\n\nmails: {}\n', '3:1', 'mails: unknown key; did you mean "mail"?'],
    ['a wrong value', 'mail:\n  limits:\n    messageSize: lots\n', '3:18', 'mail.limits.messageSize: write a size'],
    [
      'reports so large that the end of a gzip looks like a line end',
      'dmarc:\n  limits:\n    unpackedSize: 160MiB\n',
      '3:19',
      'dmarc.limits.unpackedSize: write 159MiB or less',
    ],
    ['a duration without unit', 'mail:\n  sessionWait: "20"\n', '2:16', 'mail.sessionWait: write a duration'],
    ['a port out of range', 'http:\n  port: 70000\n', '2:9', 'http.port: '],
    ['a key twice', 'state: a\nstate: b\n', '2:1', 'this key stands here twice'],
    ['broken YAML', 'hostname: a.test\nmail: {\n', '3:1', ''],
    ['an unknown tag', 'hostname: !!js/function x\n', '1:11', ''],
    ['two documents', 'state: a\n---\nstate: b\n', '2:1', ''],
    [
      'a rule without action',
      rules('- address: x'),
      '5:11',
      'mail.domains["a.test"].rules[0]: a rule either forwards or drops',
    ],
    [
      'a bad destination',
      rules('- address: x', '  forward: [a@b.test, nobody]'),
      '6:31',
      '.rules[0].forward[1]: "nobody" is not a mail address',
    ],
    ['a whole address in a rule', rules('- {address: x@a.test, drop: true}'), '5:21', 'names the local part'],
    [
      'an address twice',
      rules('- {address: x, drop: true}', '- {address: X, drop: true}'),
      '6:21',
      '"x" has a rule already',
    ],
    [
      'a declared recipient that is no address',
      'mail:\n  send:\n    to: ["*@a.test", "a.test"]\n',
      '3:22',
      'mail.send.to[1]: "a.test" is not a mail address',
    ],
    ['a domain that is none', 'mail:\n  domains:\n    a..b: {}\n', '3:5', 'mail.domains["a..b"]: "a..b"'],
    [
      'one domain in two spellings',
      'mail:\n  domains:\n    bücher.test: {}\n    xn--bcher-kva.test: {}\n',
      '4:5',
      'xn--bcher-kva.test stands here twice',
    ],
    [
      'a transport without port',
      'outbound:\n  transport: {a.test: b.test}\n',
      '2:23',
      'outbound.transport["a.test"]: write host:port',
    ],
    [
      'a password',
      'records:\n  postgres:\n    password: hunter2\n',
      '3:15',
      'no secret belongs in this file: set SWITCHYARD_POSTGRES_PASSWORD',
    ],
    [
      'the key of a bucket',
      'blobs:\n  s3: {bucket: mail, secretAccessKey: hunter2}\n',
      '2:39',
      'no secret belongs in this file: set AWS_SECRET_ACCESS_KEY',
    ],
    ['a bucket without a name', 'blobs:\n  s3: {region: x}\n', '2:3', 'blobs.s3.bucket: '],
    ['an endpoint with a path', 'blobs:\n  s3: {bucket: mail, endpoint: "http://a.test/b"}\n', '2:32', 'alone'],
    ['a prefix that leaves the bucket', 'blobs:\n  s3: {bucket: mail, prefix: ../b}\n', '2:30', 'blobs.s3.prefix: '],
    ['a schema that would need quotes', 'records:\n  postgres: {schema: "A b"}\n', '2:22', 'a plain name'],
    ['a list where a map belongs', '- a\n', '1:1', ''],
  ])('%s: is told with its place', async (_what, text, place, words) => {
    const error = await load(text).catch((thrown) => thrown);
    expect(error).toMatchObject({
      name: 'PermanentError',
      code: 'configuration.invalid',
      fix: expect.stringMatching(/\w/),
    });
    expect(error.message.split('\n')[0].startsWith(`${file}:${place}: `), error.message).toBe(true);
    expect(error.message).toContain(words);
  });

  it('aliases that unfold without end are refused', async () => {
    await expect(load(bomb.join('\n'))).rejects.toMatchObject({
      code: 'configuration.invalid',
      fix: expect.stringContaining('alias'),
    });
  });

  it('a named file that is not there is an error; the usual one is not', async () => {
    await expect(loadConfiguration({ file })).rejects.toMatchObject({ code: 'configuration.invalid' });
    expect((await loadConfiguration({ folder })).mail.domains).toHaveProperty(['demo.test']);
  });
});

describe('a configuration', () => {
  it('is completed: absolute paths, A-labels, lower case, milliseconds and bytes', async () => {
    const configuration = await load(
      'state: data\nhostname: MX.Example.com\nmail:\n  sessionWait: 1.5s\n  limits: {messageSize: 1KiB}\n  tls: {certificate: c.pem, key: /k.pem}\n  domains:\n    Bücher.test:\n      rules: [{address: Info, forward: [A.b@Bücher.test]}]\n',
    );
    expect(configuration).toMatchObject({
      state: join(folder, 'data'),
      hostname: 'mx.example.com',
      mail: {
        sessionWait: 1_500,
        limits: { messageSize: 1_024 },
        tls: { certificate: join(folder, 'c.pem'), key: '/k.pem' },
        // IDNA: bücher is xn--bcher-kva (RFC 3492 encoding).
        domains: { 'xn--bcher-kva.test': { rules: [{ address: 'info', forward: ['A.b@xn--bcher-kva.test'] }] } },
      },
    });
  });

  it('holds declared recipients in the form in which addresses are compared', async () => {
    const { mail } = await load('mail: {send: {to: [Team@Bücher.test, "*@B.test"]}}');
    expect(mail.send.to).toEqual(['team@xn--bcher-kva.test', '*@b.test']);
  });

  it('of a database and a bucket needs no more than their names', async () => {
    const { records, blobs } = await load(
      'records: {postgres: {ca: ca.pem}}\nblobs: {s3: {bucket: mail, endpoint: "https://s3.example.net/"}}\n',
    );
    expect(records).toEqual({
      postgres: {
        host: '127.0.0.1',
        port: 5_432,
        database: 'switchyard',
        user: 'switchyard',
        schema: 'public',
        ca: join(folder, 'ca.pem'),
        connections: 10,
      },
    });
    expect(blobs).toEqual({ s3: { bucket: 'mail', region: 'us-east-1', endpoint: 'https://s3.example.net' } });
  });

  it('of the example file shows every key of the stores, and they are right when they are no comments', async () => {
    const text = readFileSync(resolve('switchyard.example.yaml'), 'utf8');
    const [section = ''] = /^records: \{\}[^]*?^# debug/m.exec(text) ?? [];
    const lines = section
      .replace('records: {}', 'records:')
      .replace('blobs: {}', 'blobs:')
      .replaceAll(/^ {2}# (postgres|s3|  )/gm, '  $1');
    const { records, blobs } = await load(lines);
    const shape = (schema: unknown) => Object.keys((schema as { shape: object }).shape);
    const { records: r, blobs: b } = Configuration.shape;
    const secrets = ['password', 'accessKeyId', 'secretAccessKey'];
    const known = [...shape(r.unwrap().shape.postgres.unwrap()), ...shape(b.unwrap().shape.s3.unwrap())].filter(
      (key) => !secrets.includes(key),
    );
    expect([...Object.keys(records.postgres ?? {}), ...Object.keys(blobs.s3 ?? {})].sort()).toEqual(known.sort());
  });

  it('of the example file is valid, and its defaults are those of the schema', async () => {
    const example = await loadConfiguration({ file: resolve('switchyard.example.yaml') });
    const bare = await load('');
    const own = ({ domains: _domains, ...mail }: typeof bare.mail) => mail;
    expect(own(example.mail)).toEqual(own(bare.mail));
    expect(example.temporal).toEqual(bare.temporal);
    expect(example.dmarc).toEqual(bare.dmarc);
    expect({ ...example.outbound, transport: {} }).toEqual(bare.outbound);
  });
});
