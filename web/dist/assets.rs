// Written by web/build.mjs.
const INDEX: &str = include_str!("index.html");
static ASSETS: [Asset; 4] = [
    Asset { name: "icon.svg", bytes: include_bytes!("icon.svg") },
    Asset { name: "main-2BA2JXFX.js", bytes: include_bytes!("main-2BA2JXFX.js") },
    Asset { name: "main-VXSIBCXM.css", bytes: include_bytes!("main-VXSIBCXM.css") },
    Asset { name: "worklet-EU2RFYQN.js", bytes: include_bytes!("worklet-EU2RFYQN.js") },
];
