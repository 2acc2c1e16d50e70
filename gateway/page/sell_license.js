/* Selling a license, and changing the terms of one: a form of what its model can be sold with. */

import { formDialog, secretDialog, unchanged } from "./form_dialog.js";

/**
 * Ask for the terms of a license and sell it, or change it where `license` is one.
 *
 * @param {App} app
 * @param {object[]} offers What can be sold, as `GET /api/offers` says.
 * @param {object|null} license
 * @param {(serial: string) => object|undefined} find The license of a serial as it is by now.
 * @returns {Promise<boolean>} Whether it was done.
 */
export function sellLicense(app, offers, license, find) {
  const first = license?.model ?? offers[0].model;
  const of = (offer) => (values) => (license?.model ?? values.model) === offer.model;
  const fields = [
    ...(license ? [] : [
      { name: "serial", label: "Serial", required: true, help: "What the customer's server is set up with, such as ACME-1." },
      { name: "model", label: "License model", kind: "choice", choices: offers.map(({ model, title }) => [model, title]), value: first },
    ]),
    ...offers.filter(({ model }) => !license || model === first).flatMap((offer) => fieldsOf(offer, license).map((field) =>
      ({ ...field, shown: of(offer) }))),
    {
      name: "not_after", label: "Last day", kind: "date", value: license?.not_after?.slice(0, 10) ?? "",
      help: "Empty: it does not end by itself.",
    },
    {
      name: "needs_connection", label: "Its server must stay connected to this one", kind: "check",
      value: license?.needs_connection ?? true,
    },
  ];
  const check = unchanged("license", license, find);
  const run = async (values) => {
    const serial = license?.serial ?? values.serial;
    check(serial);
    const offer = offers.find(({ model }) => model === (license?.model ?? values.model));
    const sold = await app.send("PUT", `api/licenses/${encodeURIComponent(serial)}`, termsOf(offer, values));
    if (sold.key) {
      await secretDialog({
        title: `Key of ${serial}`,
        text: `The customer's server needs the serial ${serial} and, in a file, this key.`,
        secret: sold.key,
      });
    } else {
      app.notify(`The license ${serial} has these terms from now on.`, "good");
    }
  };
  const title = license ? `Change the license ${license.serial}` : "Sell a license";
  return formDialog({ title, fields, act: license ? "Change" : "Sell", run });
}

/** The fields of what a model can be sold with; their names begin with that of the model. */
function fieldsOf({ model, editions, pools, extensions }, license) {
  const name = (field) => `${model}.${field}`;
  return [
    ...(editions.length ? [{
      name: name("edition"), label: "Edition", kind: "choice", choices: editions.map((each) => [each, each]),
      value: license?.edition ?? editions[0],
    }] : []),
    ...Object.entries(pools).map(([pool, title]) => ({
      name: name(`limits.${pool}`), label: title, kind: "number", min: 0, value: license?.limits?.[pool] ?? null,
      help: "Seats; empty: what the edition has.",
    })),
    ...extensions.map((each) => ({
      name: name(`extensions.${each}`), label: `With ${each.replaceAll("_", " ")}`, kind: "check",
      value: license?.extensions?.includes(each) ?? false,
    })),
  ];
}

/** The body of the request: what was entered for this model. */
function termsOf({ model, editions, pools, extensions }, values) {
  const value = (field) => values[`${model}.${field}`];
  const limits = Object.keys(pools).map((pool) => [pool, value(`limits.${pool}`)]).filter(([, number]) => number !== null);
  return {
    model,
    ...(editions.length ? { edition: value("edition") } : {}),
    limits: Object.fromEntries(limits),
    extensions: extensions.filter((each) => value(`extensions.${each}`)),
    needs_connection: values.needs_connection,
    not_after: values.not_after || null,
  };
}
