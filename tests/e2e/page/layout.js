// The defects of the page's geometry: text that is cut, boxes and texts that overlap, controls outside
// the window. A text may be cut where it can be read in full: the parts of a row and the preview of a
// conversation, which open, and an element with a title. What is in an element that scrolls is complete.
(() => {
    const defects = new Set();
    const style = (it) => getComputedStyle(it);
    const seen = (it) => it.checkVisibility({ visibilityProperty: true }) && !it.closest('.unseen, .skip, svg') &&
        style(it.closest('.columns') ?? it).clipPath === 'none';
    const name = (it) => it.tagName.toLowerCase() + (it.id ? '#' + it.id : '') +
        (it.classList.length ? '.' + [...it.classList].join('.') : '');
    const parents = function* (it) { for (let up = it.parentElement; up; up = up.parentElement) yield up; };
    const clips = (overflow) => overflow === 'hidden' || overflow === 'clip';
    const pen = document.createElement('canvas').getContext('2d');
    const textWidth = (it, text) => {
        const { fontStyle, fontWeight, fontSize, fontFamily } = style(it);
        pen.font = `${fontStyle} ${fontWeight} ${fontSize} ${fontFamily}`;
        return pen.measureText(text).width;
    };

    if (document.documentElement.scrollWidth > innerWidth) defects.add('the page scrolls sideways');
    for (const it of document.querySelectorAll('.panel, .view, .detail .body')) {
        if (seen(it) && it.scrollWidth > it.clientWidth + 1) defects.add('wider than its panel: in ' + name(it));
    }
    for (const it of document.querySelectorAll('input, textarea, button, select, summary')) {
        if (!seen(it) || it.matches('[type=radio]')) continue;
        const box = it.getBoundingClientRect();
        if (box.width && (box.right > innerWidth + 1 || box.left < -1)) defects.add('outside: ' + name(it));
    }
    // What the browser draws in fields is no text of the document.
    for (const it of document.querySelectorAll('select, input[placeholder]')) {
        if (!seen(it)) continue;
        const { paddingLeft, paddingRight } = style(it);
        const room = it.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
        const text = it.tagName === 'SELECT' ? it.selectedOptions[0]?.label ?? '' : it.value ? '' : it.placeholder;
        // The arrow of a list and the cross of a search take 16 pixels.
        const arrow = it.matches('select, [type=search]') ? 16 : 0;
        const saved = it.selectedOptions?.[0]?.dataset.saved !== undefined;
        if (textWidth(it, text) > room - arrow + 1 && !saved) defects.add('cut: ' + name(it) + ': ' + text);
    }

    for (const it of document.querySelectorAll('textarea[placeholder]')) {
        if (!seen(it) || it.value) continue;
        const copy = it.cloneNode();
        copy.value = it.placeholder;
        Object.assign(copy.style, { position: 'absolute', width: it.offsetWidth + 'px' });
        it.after(copy);
        if (copy.scrollHeight > it.clientHeight + 1) defects.add('cut: ' + name(it) + ': ' + it.placeholder);
        copy.remove();
    }
    // A list in which hardly a line can be read.
    for (const it of document.querySelectorAll('main *')) {
        if (!seen(it) || it.matches('textarea, .state-line') || !['auto', 'scroll'].includes(style(it).overflowY)) continue;
        if (it.scrollHeight > it.clientHeight + 1 && it.clientHeight < 72) defects.add(`low: ${name(it)}: ${it.clientHeight}`);
    }

    // The visible boxes of each text.
    const texts = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    while (walker.nextNode()) {
        const [node, it] = [walker.currentNode, walker.currentNode.parentElement];
        if (!node.data.trim() || !seen(it) || it.closest('script, noscript, option, textarea, .rows .note .kind')) continue;
        range.selectNodeContents(node);
        const excused = it.closest('[title], .line :is(.payload, .kind), [data-dated=true] .time, bdi.name, .preview');
        for (const box of range.getClientRects()) {
            if (box.width < 1 || box.height < 1) continue;
            let [left, top, right, bottom] = [box.left, box.top, box.right, box.bottom];
            let [inX, inY] = [true, true];
            for (const up of [it, ...parents(it)]) {
                const { overflowX, overflowY, position } = style(up);
                if (overflowX === 'visible' && overflowY === 'visible') continue;
                const outer = up.getBoundingClientRect();
                const edge = { left: outer.left + up.clientLeft, top: outer.top + up.clientTop };
                edge.right = edge.left + up.clientWidth;
                edge.bottom = edge.top + up.clientHeight;
                const over = Math.max(right - edge.right, edge.left - left);
                if (clips(overflowX) && inX && over > 1 && !excused) defects.add(`cut: ${name(it)} by ${name(up)}: ${node.data.slice(0, 40)}`);
                // The height of a glyph may exceed that of its line.
                const below = Math.max(bottom - edge.bottom, edge.top - top);
                if (clips(overflowY) && inY && below > 4 && !up.matches('.sizer') && !it.closest('.sizer')) defects.add(`cut below: ${name(it)} by ${name(up)}: ${node.data.slice(0, 40)}`);
                [left, top] = [Math.max(left, edge.left), Math.max(top, edge.top)];
                [right, bottom] = [Math.min(right, edge.right), Math.min(bottom, edge.bottom)];
                inX &&= overflowX !== 'auto' && overflowX !== 'scroll';
                inY &&= overflowY !== 'auto' && overflowY !== 'scroll';
                if (position === 'fixed') break;
            }
            if (right - left > 1 && bottom - top > 1) texts.push({ node, it, left, top, right, bottom });
        }
    }
    // Layers above others, such as an open menu, cover them.
    const layer = (it) => [it, ...parents(it)].find((up) => ['absolute', 'fixed', 'sticky'].includes(style(up).position)) ?? null;
    const block = (it) => [it, ...parents(it)].find((up) => style(up).display !== 'inline');
    for (const one of texts) Object.assign(one, { layer: layer(one.it), block: block(one.it) });
    texts.sort((a, b) => a.top - b.top);
    for (let i = 0; i < texts.length; i++) for (let j = i + 1; j < texts.length && texts[j].top < texts[i].bottom - 2; j++) {
        const [a, b] = [texts[i], texts[j]];
        if (a.layer !== b.layer || a.block === b.block) continue;
        // Texts side by side need a gap.
        const x = Math.min(a.right, b.right) - Math.max(a.left, b.left), y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (x > -1.5 && y > 3) defects.add(`overlap: ${name(a.it)} "${a.node.data.slice(0, 30)}" and ${name(b.it)} "${b.node.data.slice(0, 30)}"`);
    }

    // Texts of a layer that something else covers.
    const isOver = (it, x, y) => {
        const top = document.elementFromPoint(x, y);
        return top && !top.contains(it) && !it.contains(top) && !top.closest('.menu, .close-with') && name(top);
    };
    for (const { it, node, layer, left, top, right, bottom } of texts) {
        const over = layer && isOver(it, (left + right) / 2, (top + bottom) / 2);
        if (over) defects.add(`covered: ${name(it)} "${node.data.slice(0, 30)}" by ${over}`);
    }

    // Boxes of siblings.
    for (const parent of document.querySelectorAll('body, main, main div, main section, main header, main form, header, ul, p, li, dl')) {
        if (!seen(parent) || parent.closest('.rows, .track')) continue;
        const boxes = [...parent.children].filter((it) => seen(it) && !['absolute', 'fixed', 'sticky'].includes(style(it).position) &&
            style(it).display !== 'inline' && !it.matches('.unseen, [type=radio]'))
            .map((it) => [it, it.getBoundingClientRect()]).filter(([, box]) => box.width > 1 && box.height > 1);
        for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
            const [[a, p], [b, q]] = [boxes[i], boxes[j]];
            const x = Math.min(p.right, q.right) - Math.max(p.left, q.left);
            const y = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
            if (x > 1.5 && y > 1.5) defects.add('overlap: ' + name(a) + ' and ' + name(b));
        }
    }
    return [...defects];
})()
