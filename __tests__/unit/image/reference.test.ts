import { describe, expect, test } from "@jest/globals";
import {
  credentialKey,
  isTag,
  parseImageReference,
  sameTag,
  shortImage,
} from "../../../src/image/reference.ts";

const F64 = "f".repeat(64);

/** The tables of the distribution project (reference_test.go, normalize_test.go), read as docker reads them: normalised. */
describe("references that docker takes", () => {
  test.each([
    ["test_com", "docker.io", "library/test_com", undefined, undefined],
    ["test.com:tag", "docker.io", "library/test.com", "tag", undefined],
    ["test.com:5000", "docker.io", "library/test.com", "5000", undefined],
    ["test.com/repo:tag", "test.com", "repo", "tag", undefined],
    ["test:5000/repo", "test:5000", "repo", undefined, undefined],
    ["test:5000/repo:tag", "test:5000", "repo", "tag", undefined],
    [`test:5000/repo@sha256:${F64}`, "test:5000", "repo", undefined, `sha256:${F64}`],
    [`test:5000/repo:tag@sha256:${F64}`, "test:5000", "repo", "tag", `sha256:${F64}`],
    ["lowercase:Uppercase", "docker.io", "library/lowercase", "Uppercase", undefined],
    ["sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com", "bar/baz/quux", undefined, undefined],
    [
      "sub-dom1.foo.com/bar/baz/quux:some-long-tag",
      "sub-dom1.foo.com",
      "bar/baz/quux",
      "some-long-tag",
      undefined,
    ],
    [
      "b.gcr.io/test.example.com/my-app:test.example.com",
      "b.gcr.io",
      "test.example.com/my-app",
      "test.example.com",
      undefined,
    ],
    ["xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "myimage", "xn--n3h.com", undefined],
    [
      `xn--7o8h.com/myimage:xn--7o8h.com@sha512:${F64}${F64}`,
      "xn--7o8h.com",
      "myimage",
      "xn--7o8h.com",
      `sha512:${F64}${F64}`,
    ],
    ["foo_bar.com:8080", "docker.io", "library/foo_bar.com", "8080", undefined],
    ["foo/foo_bar.com:8080", "docker.io", "foo/foo_bar.com", "8080", undefined],
    ["192.168.1.1", "docker.io", "library/192.168.1.1", undefined, undefined],
    ["192.168.1.1:5000", "docker.io", "library/192.168.1.1", "5000", undefined],
    ["192.168.1.1/repo", "192.168.1.1", "repo", undefined, undefined],
    ["192.168.1.1:5000/repo:5050", "192.168.1.1:5000", "repo", "5050", undefined],
    ["[2001:db8::1]/repo", "[2001:db8::1]", "repo", undefined, undefined],
    ["[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]", "repo", "tag", undefined],
    ["[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000", "repo", "tag", undefined],
    [`[::1]:5000/repo@sha256:${F64}`, "[::1]:5000", "repo", undefined, `sha256:${F64}`],
    ["docker/docker", "docker.io", "docker/docker", undefined, undefined],
    ["library/debian", "docker.io", "library/debian", undefined, undefined],
    ["debian", "docker.io", "library/debian", undefined, undefined],
    ["docker.io/docker/docker", "docker.io", "docker/docker", undefined, undefined],
    ["docker.io/library/debian", "docker.io", "library/debian", undefined, undefined],
    ["docker.io/debian", "docker.io", "library/debian", undefined, undefined],
    ["index.docker.io/docker/docker", "docker.io", "docker/docker", undefined, undefined],
    ["index.docker.io/debian", "docker.io", "library/debian", undefined, undefined],
    ["127.0.0.1:5000/docker/docker", "127.0.0.1:5000", "docker/docker", undefined, undefined],
    ["localhost/debian", "localhost", "debian", undefined, undefined],
    ["Localhost/debian", "Localhost", "debian", undefined, undefined],
    ["foo/bar__baz--qux.x", "docker.io", "foo/bar__baz--qux.x", undefined, undefined],
    [
      `docker.io/${"1a3f5e7d".repeat(8)}`,
      "docker.io",
      `library/${"1a3f5e7d".repeat(8)}`,
      undefined,
      undefined,
    ],
    [
      "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev",
      "docker.io",
      "library/thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev",
      undefined,
      undefined,
    ],
    [`${"a/".repeat(127)}a`, "docker.io", `${"a/".repeat(127)}a`, undefined, undefined],
  ])("%s", (text, domain, path, tag, digest) => {
    expect(parseImageReference(text)).toEqual({ domain, path, tag, digest });
  });
});

describe("references that docker refuses", () => {
  test.each([
    "",
    ":justtag",
    `@sha256:${F64}`,
    "repo@sha256:ffffffffffffffffffffffffffffffffff",
    `validname@invaliddigest:${F64}${F64}`,
    `repo@sha256:${"F".repeat(64)}`,
    `repo@sha256:${F64}@sha256:${F64}`,
    "Uppercase:tag",
    "test:5000/Uppercase/lowercase:tag",
    `${"a/".repeat(128)}a:tag`,
    "aa/asdf$$^/aa",
    "[2001:db8::1]",
    "[2001:db8::1]:5000",
    "[2001:db8::1]:tag",
    "[fe80::1%eth0]:5000/repo",
    "[2001:db8:3:4::192.0.2.33]:5000/debian",
    "fc00::1:5000/debian",
    "https://github.com/docker/docker",
    "docker/Docker",
    "-docker",
    "-docker/docker",
    "-docker.io/docker/docker",
    "docker///docker",
    "docker.io/docker/Docker",
    "docker.io/docker///docker",
    "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a",
    "foo_bar.com/repo",
    "repo:",
    "repo:-tag",
    "repo:.tag",
    "repo:a b",
    `repo:${"a".repeat(129)}`,
    "repo/",
    "/repo",
    "a..b",
    "a___b",
    "repo\n",
  ])("%j", (text) => {
    expect(parseImageReference(text)).toBeUndefined();
  });
});

test.each([
  ["v1", true],
  ["_x", true],
  ["1.2.3-rc.1", true],
  ["a".repeat(128), true],
  ["a".repeat(129), false],
  ["", false],
  [".a", false],
  ["-a", false],
  ["a/b", false],
  ["a+b", false],
  ["a:b", false],
  ["v1\n", false],
])("%j is a tag: %s", (text, expected) => {
  expect(isTag(text)).toBe(expected);
});

test.each([
  ["the same words", "r.io/a:v1", "r.io/a:v1", true],
  ["a digest beside it", "r.io/a:v1", `r.io/a:v1@sha256:${F64}`, true],
  ["no tag is latest", "r.io/a", "r.io/a:latest", true],
  ["Docker Hub's long and short names", "nginx:1", "docker.io/library/nginx:1", true],
  ["another tag", "r.io/a:v1", "r.io/a:v2", false],
  ["another registry", "r.io/a:v1", "a:v1", false],
  ["another repository", "r.io/a:v1", "r.io/b:v1", false],
])("the same tag of the same repository: %s", (_fact, a, b, same) => {
  const [first, second] = [parseImageReference(a), parseImageReference(b)];
  expect(first !== undefined && second !== undefined && sameTag(first, second)).toBe(same);
});

test("docker keeps Docker Hub's credentials under a name of its own", () => {
  expect(credentialKey("docker.io")).toBe("https://index.docker.io/v1/");
  expect(credentialKey("ghcr.io")).toBe("ghcr.io");
});

test("people recognise a digest by its first twelve digits", () => {
  expect(shortImage(`r.io/a:v1@sha256:0123456789ab${"f".repeat(52)}`)).toBe("r.io/a:v1@sha256:0123456789ab");
  expect(shortImage("r.io/a:v1")).toBe("r.io/a:v1");
});
