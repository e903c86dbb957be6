/** Everything about reports, over any migrated database. */
import type { Database } from '../tables.ts';
import { dmarcDomainRecords } from './domains.ts';
import { generationRecords } from './generations.ts';
import { dmarcHostRecords } from './hosts.ts';
import { intakeRecords } from './intake.ts';
import type { DmarcRecords } from './port.ts';
import { quarantineRecords } from './quarantine.ts';
import { dmarcQueries } from './queries.ts';
import { dmarcReportRecords } from './reports.ts';

export function dmarcRecords(database: Database): DmarcRecords {
  return {
    domains: dmarcDomainRecords(database),
    hosts: dmarcHostRecords(database),
    reports: dmarcReportRecords(database),
    generations: generationRecords(database),
    quarantine: quarantineRecords(database),
    intake: intakeRecords(database),
    queries: dmarcQueries(database),
  };
}
