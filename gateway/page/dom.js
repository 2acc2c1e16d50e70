/* Building what is shown. Text is always a text node: whatever a client calls itself, it is never markup. */

/**
 * An element.
 *
 * @param {string} tag
 * @param {object} attributes A function is a listener to the event of its name without "on"; `dataset` is a mapping;
 *   null, undefined and false are left out; true is an attribute without a value.
 * @param {...(Node|string|number|Array|null|undefined|false)} children Lists may be nested; null, undefined and false
 *   are left out.
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** The same in the SVG namespace. */
export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** Replace what is in a node by `children`, as `el` takes them. */
export function setChildren(node, ...children) {
  node.replaceChildren(...flatten(children));
}

/** Make `wanted` the children of a parent; nodes that stay are not touched, so that focus and selection stay too. */
export function reorderChildren(parent, wanted) {
  const staying = new Set(wanted);
  for (const child of [...parent.childNodes]) if (!staying.has(child)) child.remove();
  let place = parent.firstChild;
  for (const node of wanted) {
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
}

/**
 * Replace what is in a node by `children`, as `el` takes them; what is there already and looks the same stays, so that
 * focus, selection and a press that has begun stay too.
 *
 * What stays keeps its listeners: they must find what may change by themselves. Where several look alike, a `data-key`
 * tells them apart.
 */
export function renewChildren(node, ...children) {
  const made = document.createDocumentFragment();
  made.append(...flatten(children));
  renew(node, made);
}

function renew(node, made) {
  const present = [...node.childNodes];
  const keyed = new Map(present.filter(keyOf).map((child) => [keyOf(child), child]));
  reorderChildren(node, [...made.childNodes].map((child, place) => {
    const before = keyOf(child) ? keyed.get(keyOf(child)) : present[place];
    if (before === undefined || !isAlike(before, child)) return child;
    if (before.nodeType === Node.TEXT_NODE && before.data !== child.data) before.data = child.data;
    renew(before, child);
    return before;
  }));
}

const keyOf = (node) => node.dataset?.key;

/** Whether two nodes are the same but for what is in them. */
function isAlike(one, other) {
  if (one.nodeType === Node.TEXT_NODE) return other.nodeType === Node.TEXT_NODE;
  return one.cloneNode(false).isEqualNode(other.cloneNode(false));
}

/** Set the text of a node; one that has it already is not touched, so that it is not read out again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "dataset") Object.assign(node.dataset, value);
    else if (typeof value === "function") node.addEventListener(name.slice("on".length), value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...flatten(children));
  return node;
}

function flatten(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}
