// check.mjs - "ok NAME" and "not ok NAME", as the shell tests print them.
let failed = 0;

export function same(name, want, got) {
  const equal = JSON.stringify(want) === JSON.stringify(got);
  console.log(`${equal ? 'ok' : 'not ok'} ${name}`);
  if (!equal) {
    failed++;
    console.log(`    want: ${JSON.stringify(want)}\n    got:  ${JSON.stringify(got)}`);
  }
}

// What a call throws, or null.
export async function thrown(call) {
  try {
    await call();
  } catch (e) {
    return e;
  }
  return null;
}

export function verdict() {
  process.exit(failed ? 1 : 0);
}
