import { expect, it } from 'vitest';
import { mailboxAddress, parseMailbox } from '../../../protocols/mail/mailbox.ts';
import { permanentCode } from '../errors.ts';

it.each([
  ['alice@a.test', '', 'alice@a.test'],
  [' <alice@a.test> ', '', 'alice@a.test'],
  ['Alice <alice@a.test>', 'Alice', 'alice@a.test'],
  ['Alice, Ltd. <alice@a.test>', 'Alice, Ltd.', 'alice@a.test'],
  ['"Alice <b@evil.test>, \\"Ltd.\\"" <alice@a.test>', 'Alice <b@evil.test>, "Ltd."', 'alice@a.test'],
  ['"a b"@a.test', '', '"a b"@a.test'],
  ['Пётр <пример@bücher.test>', 'Пётр', 'пример@xn--bcher-kva.test'],
])('reads %s', (text, name, address) => {
  const mailbox = parseMailbox(text);
  expect({ name: mailbox.name, address: mailboxAddress(mailbox) }).toEqual({ name, address });
});

it.each([
  '',
  'Alice',
  'Alice alice@a.test',
  'a@a.test, b@b.test',
  'Alice <a@a.test>, Bob <b@b.test>',
  'team: a@a.test, b@b.test;',
  'a@evil.test <b@b.test> <c@c.test>',
  'Alice <a@a.test> x',
  'Alice\r\nBcc: eve@e.test <a@a.test>',
  '\n<a@a.test>',
])('refuses %j: it is not one mailbox', (text) => {
  expect(permanentCode(() => parseMailbox(text))).toBe('address.invalid');
});
