/** The reports of an item, one after another: read, or published so that they count. */
import type { IDataObject, IExecuteFunctions, INodeExecutionData } from 'n8n-workflow';
import { uploadBinary } from '../shared/blobs.ts';
import type { BlobRef } from '../shared/contract.ts';
import { asNodeError } from '../shared/errors.ts';
import { actId } from '../shared/identity.ts';
import type { Acted } from '../shared/items.ts';
import { failedItem } from '../shared/output.ts';
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

/** What becomes of stored bytes: the fields of an item for each report. */
type Act = (call: Call, stored: Stored, context: IExecuteFunctions, itemIndex: number) => Promise<IDataObject[]>;

/**
 * Every report of an item, each an item of its own.
 * @throws NodeApiError, NodeOperationError of the first that is none, unless the node continues on errors
 */
export async function readItem(context: IExecuteFunctions, itemIndex: number): Promise<Acted> {
  const act = operations[context.getNodeParameter('operation', itemIndex) as keyof typeof operations];
  const names = ((context.getNodeParameter('binaryFields', itemIndex) as string | null) ?? '').trim();
  const call = caller(context, itemIndex);
  const items: INodeExecutionData[] = [];
  for (const file of await filesOf(context, itemIndex, names))
    await settle(context, itemIndex, items, async () => {
      for (const stored of await storedOf(context, itemIndex, file, call))
        await settle(context, itemIndex, items, async () => {
          const found = await act(call, stored, context, itemIndex);
          items.push(...found.map((json) => ({ json, pairedItem: { item: itemIndex } })));
        });
    });
  return { items };
}

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

function caller(context: IExecuteFunctions, itemIndex: number): Call {
  let calls = 0;
  return async (step, input) => {
    calls += 1;
    const key = `${actId(context, itemIndex)}/${calls}`;
    return (await callStep(context, itemIndex, { step, input, key })) as IDataObject;
  };
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

const parse: Act = async (call, { report, name }, context, itemIndex) => {
  const { container, reports, refused } = await call('dmarc.parseReport', { report });
  const { output } = context.getNodeParameter('options', itemIndex, {}) as Options;
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

const publish: Act = async (call, { report, name }, context, itemIndex) => {
  const domain = ((context.getNodeParameter('domain', itemIndex) as string | null) ?? '').trim();
  const { report: kept } = await call('dmarc.storeReport', { report });
  // Names of hosts help people; no report waits for them, and one that cannot be read is quarantined below.
  await call('dmarc.enrich', { report: kept }).catch(() => undefined);
  const { reports } = await call('dmarc.publishReport', { report: kept, domain: domain || null });
  return (reports as IDataObject[]).map((one) => ({ name, ...one }));
};

const operations = { parse, publish };
