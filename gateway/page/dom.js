/* Building what is shown. Text is always a text node: whatever a client calls itself, it is never markup. */

/** An element with attributes and children; `on…` functions listen, `dataset` is a mapping, null children are left out. */
export function el(tag, attributes = {}, ...children) {
  return made(document.createElement(tag), attributes, children);
}

/** The same in the SVG namespace. */
export function svg(tag, attributes = {}, ...children) {
  return made(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** Replace what is in a node. */
export function setChildren(node, ...children) {
  node.replaceChildren(...nodes(children));
  return node;
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

/** Set the text of a node where it is another one. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function made(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "dataset") Object.assign(node.dataset, value);
    else if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...nodes(children));
  return node;
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}
