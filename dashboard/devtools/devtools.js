// Adds the panel to the developer tools.
chrome.devtools.panels.create("Fusebox", "", "panel.html");
