// What the browser keeps for this page; nothing, where it is forbidden to.

export function recall(store, name) {
  try {
    return window[store].getItem(`heed-${name}`);
  } catch {
    return null;
  }
}

export function keep(store, name, value) {
  try {
    if (value === null) {
      window[store].removeItem(`heed-${name}`);
    } else {
      window[store].setItem(`heed-${name}`, value);
    }
  } catch {
    // The page works without.
  }
}
