/** Jobs about reports: reading all of them anew, and taking in those of the past. */

export const REREAD_REPORTS = 'rereadReports';
export const IMPORT_REPORTS = 'importReports';
