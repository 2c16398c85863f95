// Microsoft's Open XML SDK, compiled to WebAssembly, on every workbook given:
//     node validate.mjs FILE.xlsx...
// Prints what it finds, with file, part and place; the exit status is 1 if that is anything.
// One process for all files: starting the SDK takes longer than validating a small workbook.
// Node looks for the package from this file's folder upwards.
import { readFile } from "node:fs/promises";
import validate from "@ooxml-tools/validate";

const files = process.argv.slice(2);
if (files.length === 0) {
    console.error("no files to validate");
    process.exit(2);
}
let total = 0;
for (const file of files) {
    const findings = await validate(new Uint8Array(await readFile(file)), "xlsx", "Microsoft365");
    for (const { description, path } of findings) {
        console.log(`${file}: ${path.partUri} ${path.xpath}: ${description}`);
    }
    total += findings.length;
}
console.log(`${files.length} workbooks, ${total} findings`);
process.exit(total === 0 ? 0 : 1);
