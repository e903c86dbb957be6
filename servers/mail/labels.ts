/** What a `routeMail` run shows of itself: who and what in one line, where it came from, and the attributes it is found by. */
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { inline } from '../../protocols/markdown.ts';
import type { RouteMailInput } from '../../workflows/mail/contract.ts';

const sender = defineSearchAttributeKey('SwitchyardSender', SearchAttributeType.KEYWORD);
const recipient = defineSearchAttributeKey('SwitchyardRecipient', SearchAttributeType.KEYWORD);
const domain = defineSearchAttributeKey('SwitchyardDomain', SearchAttributeType.KEYWORD);

/** Temporal's limit on a summary is 400 bytes. */
const SUMMARY_CHARACTERS = 130;

export function labelsOf(input: RouteMailInput) {
  const subject = input.subject ? `: ${input.subject}` : '';
  return {
    staticSummary: `${input.sender || '<>'} -> ${input.recipient}${subject}`.slice(0, SUMMARY_CHARACTERS),
    staticDetails: `Received ${input.receivedAt} from ${inline(input.sourceAddress)} (${inline(input.helo)}), ${input.message.size} bytes.`,
    typedSearchAttributes: [
      { key: sender, value: input.sender || '<>' },
      { key: recipient, value: input.recipient },
      { key: domain, value: input.domain },
    ],
  };
}
