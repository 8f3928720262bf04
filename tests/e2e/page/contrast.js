// Texts, placeholders, borders of fields and focus rings whose contrast is too low (WCAG 2.2: 4.5, or 3
// for large text and parts of controls): as they are, and as they are under the pointer and with the
// focus.
(() => {
    const defects = new Set();
    const style = (it) => getComputedStyle(it);
    const name = (it) => it.tagName.toLowerCase() + (it.id ? '#' + it.id : '') +
        (it.classList.length ? '.' + [...it.classList].join('.') : '');
    // The state of each control is set by an attribute: a real pointer is over one at a time.
    const adapt = (rules) => {
        for (const rule of rules) {
            if (rule.selectorText?.includes(':hover') || rule.selectorText?.includes(':focus-visible')) {
                if (rule.selectorText.includes('probe')) continue;
                rule.selectorText = rule.selectorText.replaceAll(':hover', ':is(:hover, [data-probe=hover])')
                    .replaceAll(':focus-visible', ':is(:focus-visible, [data-probe=focus])');
            }
            if (rule.cssRules && !rule.selectorText) adapt(rule.cssRules);
        }
    };
    for (const sheet of document.styleSheets) adapt(sheet.cssRules);
    const parse = (colour) => {
        const parts = colour.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
        return [...parts.slice(0, 3), parts[3] ?? 1];
    };
    const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
    const background = (it) => {
        const layers = [];
        for (let up = it; up; up = up.parentElement) {
            layers.push(parse(style(up).backgroundColor));
            if (layers.at(-1)[3] === 1) break;
        }
        return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
    };
    const luminance = (colour) => {
        const [r, g, b] = colour.slice(0, 3).map((part) => {
            const share = part / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (a, b) => {
        const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
        return (high + 0.05) / (low + 0.05);
    };
    const check = (probe, what, it, colour, ground, least) => {
        const ratio = contrast(over(parse(colour), ground), ground);
        if (ratio < least) defects.add(`${probe}: ${ratio.toFixed(2)} of ${least}: ${what} ${name(it)} ${it.innerText?.slice(0, 30) ?? ''}`);
    };
    const controls = [...document.querySelectorAll('a, button, summary, select, input, textarea, .line, [tabindex]')];
    for (const probe of ['rest', 'hover', 'focus']) {
        for (const it of controls) it.dataset.probe = probe;
        for (const it of document.querySelectorAll('body *')) {
            if (!it.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || it.closest('.unseen, .skip, svg, option, noscript')) continue;
            const [now, ground] = [style(it), background(it)];
            const own = [...it.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
            const size = parseFloat(now.fontSize), large = size >= 24 || size >= 18.66 && Number(now.fontWeight) >= 700;
            const off = it.closest('[aria-disabled=true]');
            if (own || it.matches('input, textarea, select')) check(probe, 'text', it, now.color, ground, off || large ? 3 : 4.5);
            if (it.matches('[placeholder]')) check(probe, 'placeholder', it, getComputedStyle(it, '::placeholder').color, ground, 4.5);
            if (it.matches('input:not([type=checkbox], [type=radio], [readonly]), textarea, select')) check(probe, 'border', it, now.borderTopColor, background(it.parentElement), 3);
            if (probe === 'focus' && it.dataset.probe && !it.matches('.line, [type=radio]')) {
                if (now.outlineStyle === 'none' || parseFloat(now.outlineWidth) < 2) defects.add('no focus ring: ' + name(it));
                else check(probe, 'focus ring', it, now.outlineColor, parseFloat(now.outlineOffset) < 0 ? ground : background(it.parentElement), 3);
                // A ring that is cut at the sides is not a ring.
                const box = it.getBoundingClientRect(), reach = parseFloat(now.outlineOffset) + parseFloat(now.outlineWidth) - 0.5;
                for (let up = it.parentElement; up; up = up.parentElement) {
                    if (style(up).overflowX === 'visible') continue;
                    const left = up.getBoundingClientRect().left + up.clientLeft;
                    if (box.left - reach < left - 0.5 || box.right + reach > left + up.clientWidth + 0.5) defects.add(`focus ring cut: ${name(it)} by ${name(up)}`);
                }
            }
        }
    }
    for (const it of controls) delete it.dataset.probe;
    return [...defects];
})()
