// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-HVPYVFLT.js", bytes: include_bytes!("main-HVPYVFLT.js") },
    Asset { name: "main-YQQQ4S2U.css", bytes: include_bytes!("main-YQQQ4S2U.css") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
