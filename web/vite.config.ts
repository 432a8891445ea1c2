import { readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import type { Plugin } from 'vite';

// The outlines that src/ui/Icon.tsx names, taken from lucide-static when it is built: `virtual:icons` is a record of
// icon name to the shapes inside its <svg>.
function lucideIcons(): Plugin {
  const id = 'virtual:icons';
  return {
    name: 'fettle-icons',
    resolveId: (source) => (source === id ? `\0${id}` : undefined),
    load(source) {
      if (source !== `\0${id}`) return undefined;
      const names = JSON.parse(readFileSync('src/ui/icons.json', 'utf8')) as string[];
      const shapes = names.map((name) => {
        const svg = readFileSync(`node_modules/lucide-static/icons/${name}.svg`, 'utf8');
        const inner = svg.replace(/^[\s\S]*?<svg[^>]*>/, '').replace(/<\/svg>[\s\S]*$/, '');
        return [
          name,
          inner
            .replace(/\s+/g, ' ')
            .replace(/ ?\/> ?/g, '/>')
            .trim(),
        ];
      });
      return `export default ${JSON.stringify(Object.fromEntries(shapes))};`;
    },
  };
}

// The order of the cascade layers, said before any of them is filled: chunks are joined in an order of the bundler's.
function layerOrder(): Plugin {
  return {
    name: 'fettle-layers',
    enforce: 'post',
    generateBundle(_options, bundle) {
      for (const file of Object.values(bundle)) {
        if (file.type === 'asset' && file.fileName.endsWith('.css'))
          file.source = `@layer base,ui,page;${file.source.toString()}`;
      }
    },
  };
}

// `base` is relative: index.html carries the one absolute address (<base href>), so that a server behind a path
// prefix has a single attribute to change.
export default defineConfig({
  base: './',
  plugins: [lucideIcons(), layerOrder()],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // One sheet of 12 KB: the second page needs no second one.
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  css: { modules: { generateScopedName: '[name]_[local]_[hash:base64:4]' } },
  // The browser's Host is kept: a development server answers only pages of the address it is asked at.
  server: { proxy: { '/api': { target: process.env.FETTLE_URL ?? 'http://127.0.0.1:7070', changeOrigin: false } } },
  test: { include: ['test/unit/**/*.test.ts'], environment: 'node', css: true },
});
