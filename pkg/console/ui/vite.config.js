import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// The names of the built files have no hashes: with them, any two changes would conflict
// in git. The admin serves the folder below a hash of its content instead.
export default defineConfig({
  base: './',
  plugins: [svelte()],
  build: {
    outDir: process.env.CONSOLE_DIST ?? '../dist',
    emptyOutDir: true,
    assetsInlineLimit: 0, // the policy allows no data: URLs
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    license: { fileName: 'assets/licenses.md' },
    rolldownOptions: {
      output: {
        entryFileNames: 'assets/app.js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/app[extname]',
        // What two pages share is in one file, which the first page loads; but the editor of
        // rollouts is large and waits until it is opened.
        codeSplitting: {
          groups: [
            { name: 'rollout', test: /RolloutEditor|BucketGrid/, priority: 1, includeDependenciesRecursively: false },
            { name: 'parts', minShareCount: 2 },
          ],
        },
      },
    },
  },
  server: {
    // "make run" serves the API and the sign-in.
    proxy: Object.fromEntries(
      ['/v1', '/signin', '/signout', '/auth', '/docs', '/console.css'].map((path) => [path, 'http://127.0.0.1:8080']),
    ),
  },
});
