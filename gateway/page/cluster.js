/* The cluster that a gateway is a node of, on the summary: how the nodes are, who leads, and whether they agree. */

import { el, renewChildren } from "./dom.js";
import { formatCount, formatDuration, isolated } from "./format.js";
import { table } from "./table.js";

/* Of each state of this node: how good it is, and what it means. */
const STATES = {
  active: ["good", ""],
  following: ["", "This node follows the others with closed doors."],
  slow: ["bad", "The log is slow: this node lets nobody in and grants nothing; it only takes seats back."],
  fenced: ["bad", "This node cannot be sure that it counts: it has sent its clients away."],
};

const COLUMNS = [
  { title: "Node", isHeader: true },
  { title: "Sessions", class: "number" },
  { title: "Behind", class: "number" },
  { title: "Standing" },
];

/** Draw the card of the cluster, which is `cluster` of the state; without one it is hidden. */
export function drawCluster(card, cluster) {
  card.hidden = !cluster;
  if (!cluster) return;
  const { state, name, lag, nodes, mismatches } = cluster;
  const [mood, meaning] = STATES[state] ?? ["warn", ""];
  renewChildren(
    card,
    el("div", { class: "head" }, el("h2", { id: "cluster-title" }, "Cluster"),
      el("span", { class: `tag ${mood}`, id: "cluster-state", dataset: { state } }, state)),
    meaning ? el("p", { class: "note" }, meaning) : null,
    lag > 0 && !nodes.some((node) => node.name === name)
      ? el("p", { class: "note" }, "It is ", el("span", { class: "tag warn" }, `${formatSeconds(lag)} behind`), ".")
      : null,
    mismatches ? el("p", { class: "note" }, el("span", { class: "tag bad" }, "nodes differ"),
      " They have come to different states.") : null,
    nodes.length
      ? table({ caption: "The nodes of the cluster", columns: COLUMNS, rows: nodes.map((node) => row(node, name)) })
      : el("p", { class: "note" }, "No node is in the cluster."),
  );
}

function row({ name, connections, lag, silent, leader }, own) {
  const standing = [
    leader && el("span", { class: "tag", title: "It asks the registrar, and posts events for all" }, "leads"),
    name === own && el("span", { class: "tag" }, "this one"),
    silent > 0 && el("span", { class: "tag bad" }, `silent ${formatDuration(silent)}`),
  ].filter(Boolean);
  return { key: name, cells: [isolated(name), formatCount(connections), behind(lag, silent), standing] };
}

/* How far a node is behind; of one that is silent nobody knows. */
function behind(lag, silent) {
  if (lag > 0) return el("span", { class: "tag warn" }, formatSeconds(lag));
  return el("span", { class: "soft" }, silent > 0 ? "–" : "no");
}

const formatSeconds = (seconds) => (seconds < 10 ? `${seconds.toFixed(1)} s` : formatDuration(seconds));
