"use strict";
// A link from elsewhere comes without the SameSite=Strict cookie: whoever has it is let through from here.
fetch(location.href, { cache: "no-store" }).then((answer) => answer.ok && location.replace(location.href));
