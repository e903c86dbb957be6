/** The elements of an aggregate report, of both forms in one tree, and where each leaves its text. */
import type { Extension } from './aggregate.ts';
import { MAX_ERRORS, MAX_RESULTS } from './limits.ts';
import type { Warnings } from './warnings.ts';

type Texts<Names extends string> = Record<Names, string | null>;
const AUTHENTICATION = ['domain', 'selector', 'scope', 'result', 'human_result'] as const;
const REASON = ['type', 'comment'] as const;
const ROW = ['source_ip', 'count'] as const;
const EVALUATED = ['disposition', 'dkim', 'spf'] as const;
const IDENTIFIERS = ['header_from', 'envelope_from', 'envelope_to'] as const;
const METADATA = ['org_name', 'email', 'extra_contact_info', 'report_id', 'generator'] as const;
const RANGE = ['begin', 'end'] as const;
const POLICY = ['domain', 'p', 'sp', 'np', 'adkim', 'aspf', 'pct', 'fo', 'testing', 'discovery_method'] as const;

export type AuthenticationTexts = Texts<(typeof AUTHENTICATION)[number]>;
export type ReasonTexts = Texts<(typeof REASON)[number]>;

/** The texts of a record as they stood. */
export interface RecordTexts {
  row: Texts<(typeof ROW)[number]>;
  evaluated: Texts<(typeof EVALUATED)[number]>;
  identifiers: Texts<(typeof IDENTIFIERS)[number]>;
  reasons: ReasonTexts[];
  dkim: AuthenticationTexts[];
  spf: AuthenticationTexts[];
  extensions: Extension[];
}

/** The texts of the rest. */
export interface ReportTexts {
  version: string | null;
  metadata: Texts<(typeof METADATA)[number]>;
  range: Texts<(typeof RANGE)[number]>;
  policy: Texts<(typeof POLICY)[number]>;
  errors: string[];
  extensions: Extension[];
}

export interface Draft {
  report: ReportTexts;
  record: RecordTexts;
  /** The DKIM or SPF result, and the reason, that is being read. */
  result: AuthenticationTexts;
  reason: ReasonTexts;
  warnings: Warnings;
  recordBegins(): void;
  /** Called at the end of the two elements that are settled at once. */
  recordEnds(): void;
  rangeEnds(): void;
}

export interface Element {
  /** Path without the root, for warnings. */
  path: string;
  children: ReadonlyMap<string, Element>;
  /** Takes the text of an element without children. */
  fill: ((draft: Draft, text: string) => void) | undefined;
  begin: ((draft: Draft) => void) | undefined;
  end: ((draft: Draft) => void) | undefined;
}

const NONE: ReadonlyMap<string, Element> = new Map();

export const emptyReport = (): ReportTexts => ({
  version: null,
  metadata: { org_name: null, email: null, extra_contact_info: null, report_id: null, generator: null },
  range: { begin: null, end: null },
  policy: {
    domain: null,
    p: null,
    sp: null,
    np: null,
    adkim: null,
    aspf: null,
    pct: null,
    fo: null,
    testing: null,
    discovery_method: null,
  },
  errors: [],
  extensions: [],
});

export const emptyResult = (): AuthenticationTexts => ({
  domain: null,
  selector: null,
  scope: null,
  result: null,
  human_result: null,
});

export const emptyReason = (): ReasonTexts => ({ type: null, comment: null });

export const emptyRecord = (): RecordTexts => ({
  row: { source_ip: null, count: null },
  evaluated: { disposition: null, dkim: null, spf: null },
  identifiers: { header_from: null, envelope_from: null, envelope_to: null },
  reasons: [],
  dkim: [],
  spf: [],
  extensions: [],
});

function leaf(path: string, fill: (draft: Draft, text: string) => void): Element {
  return { path, children: NONE, fill, begin: undefined, end: undefined };
}

/** Elements that may be there once; the first counts. */
function leaves<Name extends string>(
  path: string,
  names: readonly Name[],
  target: (draft: Draft) => Texts<Name>,
): [string, Element][] {
  return names.map((name) => {
    const field = `${path}/${name}`;
    return [
      name,
      leaf(field, (draft, text) => {
        const texts = target(draft);
        if (texts[name] === null) texts[name] = text;
        else draft.warnings.add('repeated_element', field, text);
      }),
    ];
  });
}

function branch(
  path: string,
  children: [string, Element][],
  { begin, end }: Partial<Pick<Element, 'begin' | 'end'>> = {},
): Element {
  return { path, children: new Map(children), fill: undefined, begin, end };
}

/** Elements that may be there often, up to a limit. What is above it is read and not kept. */
function keep<Item>(list: Item[], item: Item, path: string, warnings: Warnings): Item {
  if (list.length < MAX_RESULTS) list.push(item);
  else warnings.add('results_cut', path);
  return item;
}

const authentication = (name: 'dkim' | 'spf'): [string, Element] => {
  const path = `record/auth_results/${name}`;
  const children = leaves(path, AUTHENTICATION, (draft) => draft.result);
  return [
    name,
    branch(path, children, {
      begin(draft) {
        draft.result = keep(draft.record[name], emptyResult(), path, draft.warnings);
      },
    }),
  ];
};

const REASON_PATH = 'record/row/policy_evaluated/reason';
const evaluated = branch('record/row/policy_evaluated', [
  ...leaves('record/row/policy_evaluated', EVALUATED, (draft) => draft.record.evaluated),
  [
    'reason',
    branch(
      REASON_PATH,
      leaves(REASON_PATH, REASON, (draft) => draft.reason),
      {
        begin(draft) {
          draft.reason = keep(draft.record.reasons, emptyReason(), REASON_PATH, draft.warnings);
        },
      },
    ),
  ],
]);

const identifiers = branch(
  'record/identifiers',
  leaves('record/identifiers', IDENTIFIERS, (draft) => draft.record.identifiers),
);

const record = branch(
  'record',
  [
    [
      'row',
      branch('record/row', [
        ...leaves('record/row', ROW, (draft) => draft.record.row),
        ['policy_evaluated', evaluated],
      ]),
    ],
    ['identifiers', identifiers],
    // The name in the first drafts.
    ['identities', identifiers],
    ['auth_results', branch('record/auth_results', [authentication('dkim'), authentication('spf')])],
  ],
  {
    begin(draft) {
      draft.record = emptyRecord();
      draft.recordBegins();
    },
    end: (draft) => draft.recordEnds(),
  },
);

/** RFC 7489, appendix C, and RFC 9990, appendix A. */
export const FEEDBACK: Element = branch('', [
  [
    'version',
    leaf('version', (draft, text) => {
      draft.report.version ??= text;
    }),
  ],
  [
    'report_metadata',
    branch('report_metadata', [
      ...leaves('report_metadata', METADATA, (draft) => draft.report.metadata),
      [
        'error',
        leaf('report_metadata/error', ({ report, warnings }, text) => {
          if (report.errors.length < MAX_ERRORS) report.errors.push(text);
          else warnings.add('results_cut', 'report_metadata/error');
        }),
      ],
      [
        'date_range',
        branch(
          'report_metadata/date_range',
          leaves('report_metadata/date_range', RANGE, (draft) => draft.report.range),
          { end: (draft) => draft.rangeEnds() },
        ),
      ],
    ]),
  ],
  [
    'policy_published',
    branch(
      'policy_published',
      leaves('policy_published', POLICY, (draft) => draft.report.policy),
    ),
  ],
  ['record', record],
]);
