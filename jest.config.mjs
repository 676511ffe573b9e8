export default {
  testEnvironment: "node",
  extensionsToTreatAsEsm: [".ts"],
  testMatch: ["<rootDir>/__tests__/**/*.test.ts"],
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      {
        jsc: { target: "es2023", parser: { syntax: "typescript" } },
        module: { type: "es6" },
      },
    ],
  },
  // Nothing is proven by it: on a busy machine a rollout takes minutes.
  testTimeout: 300_000,
  // Of `test.concurrent`, which is for tests that mostly wait.
  maxConcurrency: 8,
  reporters: ["default", "<rootDir>/__tests__/closing-line.cjs"],
};
