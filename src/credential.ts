/**
 * What may be a credential though nobody said so: by the name of its field, or by how it looks. To hide too much costs a reader one value; to
 * show too much costs a password. So where there is a doubt, it is one.
 */

/** Whole words; what stands before them in the same word (`dbpassword`, `basicauth`) makes no difference. */
const CREDENTIAL_WORD =
  "(?:[a-z0-9]*(?:pass|passcode|passwo?rd|passwd|passphrase|pwd|secret|token|credential|auth|apikey|accesskey|privatekey|secretkey|signingkey|encryptionkey)" +
  "|pw|pin|otp|totp|cred|key|keystore|dsn|connectionstring|connection_string|jwt|bearer|oauth2?|authorization|authentication|cookie|salt|pepper" +
  "|seed|mnemonic|nonce|hmac|sid|sig|signature|signing|webhook|cert|certificate|pem|pfx|p12|license|licence)s?\\d*";

const CREDENTIAL_NAME = new RegExp(`(?:^|_)${CREDENTIAL_WORD}(?=_|$)`);

/** Whether a field's name sounds like that of a credential: `DB_PASSWORD`, `apiKey`, `basicauth.users`; not `KEYBOARD` or `AUTHOR`. */
export function soundsSecret(field: string): boolean {
  return CREDENTIAL_NAME.test(inSnakeCase(field).replace(/[^a-z0-9]+/g, "_"));
}

function inSnakeCase(name: string): string {
  return name.replace(/(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, "_").toLowerCase();
}

/** Whoever says that much in one value is not read, and too long to be searched. */
const LONGEST_READ = 10_000;

/** Whether a text looks as if there were a credential in it, whatever its field is called. */
export function looksSecret(text: string): boolean {
  return (
    text.length > LONGEST_READ ||
    CREDENTIAL_FORMS.some((form) => form.test(text)) ||
    NAMED_WITHIN.test(inSnakeCase(text)) ||
    (text.match(RUN) ?? []).some(isRandom) ||
    text.split(/\s+/).some(isGenerated)
  );
}

const CREDENTIAL_FORMS: readonly RegExp[] = [
  /:\/\/[^\s"'<>]*@/, // A URL with a user, or a user and a password.
  /-----BEGIN /,
  /\beyJ[\w-]{8,}/, // A JSON Web Token, or any JSON in base64.
  /\b(?:gh[a-z]_|github_pat_|gl[a-z]{2,8}-(?=[\w-]{16})|xox[a-z]-|xapp-|[srp]k[-_](?=[\w-]{8})|npm_(?=\w{16})|dckr_[a-z]+_|pypi-|hf_(?=\w{8})|whsec_|SWMTKN-|AGE-SECRET-|tskey-|hv[sb]\.|ya29\.|SG\.(?=[\w-]{8}))/,
  /\b(?:AKIA|ASIA|AIza)[\w-]{8,}/,
  /\b(?:bearer|basic|digest|negotiate)\s+\S/i,
  /\$(?:apr1|2[abxy]?|[1567y]|sha\d|argon2\w*|scrypt|pbkdf2[\w-]*)\$/, // What htpasswd and crypt write, dollar signs doubled or not.
  /\{(?:S?SHA\d*|S?MD5|CRYPT|BCRYPT)\}/i,
  /(?<![\w-])-p(?!ort\b)(?!\s*\d{1,5}(?!\S))\s*\S/i, // mysql -psecret; a port is none.
  /(?<![\w-])-a\s+\S/, // redis-cli -a secret
  /(?<![\w-])-w\s+(?!\d+(?!\S))\S/, // ldapsearch -w secret
  /(?<![\w-])(?:-u|--user)[\s=]*\S*:\S/, // curl -u user:secret
];

/** `--password x`, `password=x`, `?token=x`, `"apiKey": "x"`, `X-Api-Key: x`. */
const NAMED_WITHIN = new RegExp(
  `(?<![a-z0-9])${CREDENTIAL_WORD}(?:[._-][a-z0-9]+){0,9}["'\`]?(?:\\s*[=:]\\s*|\\s+)\\S`,
);

/** Of the letters that base64, hexadecimal digits and most tokens are made of. */
const RUN = /[A-Za-z0-9+/=_-]{20,}/g;

/** Whether it is made of anything but words and numbers: a path, a name with dashes or an option in a command is. */
function isRandom(run: string): boolean {
  return run.split(/[+/=_-]+/).some((part) => !WORD_OR_NUMBER.test(part));
}

/** `nginx`, `http2`, `8080`, `30s`; of letters alone it may be long, of digits not. */
const WORD_OR_NUMBER = /^(?:[A-Za-z]{0,32}\d{0,4}|\d{1,12}[A-Za-z]{0,2})$/;

/** What a generator of passwords makes of all that there is on a keyboard. */
function isGenerated(word: string): boolean {
  return (
    word.length >= 10 &&
    [/[a-z]/, /[A-Z]/, /\d/, /[!#$%^&*?~@]/].every((kind) => kind.test(word)) &&
    !/[(){}`/]/.test(word)
  );
}
