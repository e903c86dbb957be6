/** The reports of an item, one after another: read, or published so that they count; at once, or each as a run. */
import type { IDataObject, IExecuteFunctions, INodeExecutionData } from 'n8n-workflow';
import { uploadBinary } from '../shared/blobs.ts';
import type { BlobRef } from '../shared/contract.ts';
import { asNodeError } from '../shared/errors.ts';
import { actId, partId } from '../shared/identity.ts';
import type { Acted } from '../shared/items.ts';
import { failedItem, type End } from '../shared/output.ts';
import { startRun, type Started } from '../shared/runs.ts';
import { callStep } from '../shared/steps.ts';
import { filesOf, type ItemFile } from './files.ts';
import type { Options } from './properties.ts';

/** Stored bytes that may be one report, or an archive with several. */
interface Stored {
  report: BlobRef;
  /** As it was called. */
  name: string | null;
}

/** A step for an item. Each call has a key of its own, the same at a retry of the node. */
type Call = (step: string, input: IDataObject) => Promise<IDataObject>;

/** What an answer is made into items with, at once or after a wait. */
interface About extends IDataObject {
  operation: keyof typeof operations;
  name: string | null;
  output: Options['output'];
}

interface Operation {
  step: string;
  /** The input of the step, and what has to be done before it. */
  prepare(call: Call, stored: Stored, context: IExecuteFunctions, itemIndex: number): Promise<IDataObject>;
  /** The fields of an item for each report of the answer. */
  fields(answer: IDataObject, about: About): IDataObject[];
}

/**
 * Every report of an item, each an item of its own.
 * @throws NodeApiError, NodeOperationError of the first that is none, unless the node continues on errors
 */
export async function readItem(context: IExecuteFunctions, itemIndex: number): Promise<Acted> {
  const operation = context.getNodeParameter('operation', itemIndex) as keyof typeof operations;
  const { output } = context.getNodeParameter('options', itemIndex, {}) as Options;
  const names = ((context.getNodeParameter('binaryFields', itemIndex) as string | null) ?? '').trim();
  const isDurable = context.getNodeParameter('durable', itemIndex, false) as boolean;
  const { step, prepare } = operations[operation];
  const acts = actsOf(context, itemIndex);
  const items: INodeExecutionData[] = [];
  const runs: Started[] = [];
  for (const file of await filesOf(context, itemIndex, names))
    await settle(context, itemIndex, items, async () => {
      for (const stored of await storedOf(context, itemIndex, file, acts.call))
        await settle(context, itemIndex, items, async () => {
          const input = await prepare(acts.call, stored, context, itemIndex);
          const about: About = { operation, name: stored.name, output };
          if (isDurable) runs.push({ run: await acts.start(step, input), about });
          else items.push(...itemsOf(await acts.call(step, input), about, itemIndex));
        });
    });
  return { items, runs };
}

/** The items of a run that read a file. */
export async function presentReports(
  _context: unknown,
  _input: unknown,
  { itemIndex, result, run, about }: End,
): Promise<INodeExecutionData[]> {
  const answer = result as IDataObject;
  // Where n8n lost what the run was started with: only what was published has a state.
  const isPublished = (answer.reports as IDataObject[]).some(({ state }) => state !== undefined);
  const known: About = { operation: isPublished ? 'publish' : 'parse', name: null, output: 'reports', ...about };
  const link = run?.url ? { runUrl: run.url } : {};
  return itemsOf(answer, known, itemIndex).map(({ json, ...rest }) => ({ ...rest, json: { ...json, ...link } }));
}

const itemsOf = (answer: IDataObject, about: About, itemIndex: number): INodeExecutionData[] =>
  operations[about.operation].fields(answer, about).map((json) => ({ json, pairedItem: { item: itemIndex } }));

/** One file that is no report is an item of its own where the node continues on errors, and hides no other. */
async function settle(
  context: IExecuteFunctions,
  itemIndex: number,
  items: INodeExecutionData[],
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!context.continueOnFail()) throw asNodeError(context.getNode(), error, itemIndex);
    items.push(failedItem(error, itemIndex));
  }
}

/** Steps for an item at once, and the last of them as a run; numbered in their order, which a retry repeats. */
function actsOf(context: IExecuteFunctions, itemIndex: number) {
  const id = actId(context, itemIndex);
  let acts = 0;
  const call: Call = async (step, input) => {
    acts += 1;
    return (await callStep(context, itemIndex, { step, input, key: `${id}/${acts}` })) as IDataObject;
  };
  const start = (step: string, input: IDataObject) => {
    acts += 1;
    return startRun(context, itemIndex, { workflow: 'runStep', id: partId(id, acts), input: { step, input } });
  };
  return { call, start };
}

/** A mail is taken apart in Switchyard; anything else is a report as it is. */
async function storedOf(
  context: IExecuteFunctions,
  itemIndex: number,
  { property, kind }: ItemFile,
  call: Call,
): Promise<Stored[]> {
  const { blob, binary } = await uploadBinary(context, itemIndex, property);
  if (kind !== 'mail') return [{ report: blob, name: binary.fileName ?? null }];
  const { reports } = await call('dmarc.extractReports', { message: blob });
  return (reports as IDataObject[]).map(({ report, name }) => ({
    report: report as BlobRef,
    name: (name ?? null) as string | null,
  }));
}

const parse: Operation = {
  step: 'dmarc.parseReport',
  prepare: async (_call, { report }) => ({ report }),
  fields({ container, reports, refused }, { name, output }) {
    const found = (reports as IDataObject[]).map(({ kind, aggregate, tls, failure, ...rest }) => ({
      name,
      container,
      kind,
      ...((aggregate ?? tls ?? failure) as IDataObject),
      ...rest,
    }));
    return [
      ...(output === 'records' ? found.flatMap(recordsOf) : found),
      ...(refused as IDataObject[]).map((one) => ({ name, container, ...one })),
    ];
  },
};

/** The records that the answer has: the first few. Each says how many there are. */
function recordsOf(report: IDataObject): IDataObject[] {
  if (report.kind !== 'aggregate') return [report];
  const { records, totals, ...about } = report as IDataObject & { records: IDataObject[]; totals: IDataObject };
  return records.map((record, index) => ({
    ...record,
    number: index + 1,
    recordsShown: records.length,
    recordsTotal: totals.records,
    report: about,
  }));
}

const publish: Operation = {
  step: 'dmarc.publishReport',
  async prepare(call, { report }, context, itemIndex) {
    const domain = ((context.getNodeParameter('domain', itemIndex) as string | null) ?? '').trim();
    const { report: kept } = await call('dmarc.storeReport', { report });
    // Names of hosts help people; no report waits for them, and one that cannot be read is quarantined below.
    await call('dmarc.enrich', { report: kept }).catch(() => undefined);
    return { report: kept, domain: domain || null };
  },
  fields: ({ reports }, { name }) => (reports as IDataObject[]).map((one) => ({ name, ...one })),
};

const operations = { parse, publish };
