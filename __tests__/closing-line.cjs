const { existsSync, readFileSync, writeFileSync } = require("node:fs");
const { relative } = require("node:path");

/**
 * The last line of a test run, for people and programs alike: "22 passed, 0 failed". Where FIRST_TRY names a file, a run notes there
 * what failed in which test files; one that finds such a note is their second try, and counts with the first.
 */
module.exports = class ClosingLine {
  onRunComplete(_contexts, results) {
    const note = process.env.FIRST_TRY;
    const first = note && existsSync(note) ? JSON.parse(readFileSync(note, "utf8")) : undefined;
    const failed = results.testResults.filter((file) => file.numFailingTests > 0 || file.testExecError);
    const among = failed.reduce((sum, file) => sum + file.numPassingTests, 0);
    if (note && first === undefined) {
      const files = failed.map(({ testFilePath }) => relative(process.cwd(), testFilePath));
      writeFileSync(note, JSON.stringify({ files, passedInOthers: results.numPassedTests - among }));
    }
    const passed = results.numPassedTests + (first?.passedInOthers ?? 0);
    const failures = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const skipped = results.numPendingTests + results.numTodoTests;
    const tail = [
      skipped > 0 ? `, ${skipped} skipped` : "",
      first ? `, ${first.files.join(" and ")} at the second try` : "",
    ];
    // At the very end, behind what the other reporters still have to say.
    process.on("exit", () => process.stdout.write(`${passed} passed, ${failures} failed${tail.join("")}\n`));
  }
};
