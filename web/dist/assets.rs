// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-FZFXOW22.css", bytes: include_bytes!("main-FZFXOW22.css") },
    Asset { name: "main-I53XB7OG.js", bytes: include_bytes!("main-I53XB7OG.js") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
