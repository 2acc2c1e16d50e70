/* Light or dark: as the system has it, until an operator chooses. */

const KEY = "tallygate.theme";

/** The page's theme. The choice is kept by the browser, for this gateway's address; it is all that the page keeps. */
export class Theme {
  /** @param {HTMLElement} root The element whose `data-theme` the style sheets look at. */
  constructor(root) {
    this.root = root;
  }

  /** Take up the choice that was made before, if any. */
  restore() {
    const kept = stored();
    if (kept === "light" || kept === "dark") this.root.dataset.theme = kept;
  }

  /** Choose the other one. */
  toggle() {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const theme = (this.root.dataset.theme ?? system) === "dark" ? "light" : "dark";
    this.root.dataset.theme = theme;
    try {
      localStorage.setItem(KEY, theme);
    } catch (error) {
      console.info(`The browser keeps nothing, so the theme lasts as long as the page: ${error.message}`);
    }
  }
}

/** The theme that was kept; null where there is none, or where the browser keeps nothing. */
function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
